"""Retrieval over several systems and sets: each opened in turn, baselines beside, differences, tables.

The protocol: every document of the corpus is ranked for every query with a relevant document, by the cosine of vectors
or by words; a cross-encoder puts the first documents of such a ranking into a new order.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, get_args

from slonik.core.errors import SlonikError, unknown_name
from slonik.core.files import write_text
from slonik.core.hashing import sha256_json
from slonik.core.numbers import check_seed
from slonik.core.paths import own_names
from slonik.core.progress import shown
from slonik.core.protocols import LongTexts
from slonik.data.retrieval import RetrievalSet, find_sets, read_set
from slonik.evaluation.retrieval.metrics import DEEPEST, METRICS
from slonik.evaluation.retrieval.rankers import LEXICAL, RANDOM
from slonik.evaluation.retrieval.ranking import check_ids, write_run
from slonik.evaluation.retrieval.reranker import Reranker
from slonik.evaluation.retrieval.scoring import SystemScores, difference_tables, differences, score_tables
from slonik.evaluation.retrieval.systems import BASELINES, Opening, is_reranker, poolings_of
from slonik.evaluation.suite import Evaluation, OnTask, add_to_passport, several, task_names, teller

Data: TypeAlias = str | Path | RetrievalSet
FIRST_STAGE = "bm25"
TOP = 100


def retrieval(
    models: Any,
    data: Data | Iterable[Data] | None = None,
    *,
    tasks: str | Sequence[str] | None = None,
    split: str = "test",
    rerank: Any = (),
    top: int = TOP,
    baselines: bool = True,
    query_prefix: str | None = None,
    document_prefix: str | None = None,
    long_texts: LongTexts | None = None,
    pooling: str | None = None,
    rankings: str | Path | None = None,
    cache: bool = True,
    seed: int = 0,
    passport: bool = False,
    dtype: str | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
    progress: bool = False,
    on_task: OnTask | None = None,
) -> Evaluation:
    """Retrieval and reranking on sets in the form of BEIR: nDCG@10, MRR@10, recall, intervals, paired differences.

    Args:
        models: encoders, loaded or by name; "bm25" (over lemmas), "bm25_words", "random"; run files of TREC (.trec,
            .run), or folders with SET.trec; cross-encoders, which put the first documents of BM25 into a new order.
        data: folders with corpus.jsonl, queries.jsonl and qrels/, folders of such, or sets in memory.
        tasks: names of the sets to measure; None = all.
        split: whose judgements: qrels/SPLIT.tsv.
        rerank: cross-encoders that put the first documents of each of `models` into a new order.
        top: how many documents of a query they read.
        baselines: measure BM25 and chance too.
        query_prefix, document_prefix: of encoders; None = the checkpoint's prompts "query", and "document" or
            "passage"; its default where it has none of these.
        long_texts: what happens to texts that are longer than a model reads; None = the model's own way.
        pooling: how models by name pool whose files do not say, as `slonik.load` takes it.
        rankings: write each system's ranking (SET.trec) and its metrics per query (SET.queries.jsonl) to a folder in
            this folder.
        cache: keep vectors of documents in the user's cache folder, and take them from there.
        seed: of the bootstrap and of chance.
        passport: add the records to the passports of models that are folders.
        dtype, device, trust_remote_code: of loading, for models by name that torch runs.
        progress: show bars, and sets as they begin, on standard error.
        on_task: called with system and set instead.

    Raises:
        SlonikError: no such model or set, damaged data, an encoder as `rerank`.
        MissingExtra: pymorphy3 is not installed, and BM25 over lemmas is asked for.
    """
    check_seed(seed)
    started = time.perf_counter()
    if top < 1:
        raise SlonikError(f"top is {top}: a reranker reads at least one document of a query")
    if long_texts is not None and long_texts not in get_args(LongTexts):
        raise SlonikError(f"long_texts is {long_texts!r}: use {', '.join(get_args(LongTexts))}")
    given, crosses = several(models), [] if _nothing(rerank) else several(rerank)
    sets = _sets(data, tasks, split)
    for task in sets if rankings is not None else ():
        check_ids(task)
    loading = {"dtype": dtype, "device": device, "trust_remote_code": trust_remote_code or None}
    opening = Opening(query_prefix, document_prefix, long_texts, cache, loading, seed, poolings_of(given, pooling))
    run = _Run(opening, sets, split, top, seed, passport, teller(on_task, progress))
    with shown(progress):
        for name in BASELINES if baselines else ():
            if name not in given:
                run.first_stage(name)
        rankers = [model for model in given if not is_reranker(model)]
        for model in rankers:
            run.first_stage(model)
        for model in given:
            if is_reranker(model):
                run.notes.append(
                    f"{_name(model)} is a cross-encoder: it puts the first {top} documents of {FIRST_STAGE} into a new "
                    "order (of another MODEL with --rerank)"
                )
                run.first_stage(FIRST_STAGE, shown=False)
                run.second_stage(model, [FIRST_STAGE], alone=True)
        for model in crosses:
            run.second_stage(model, [_name(one) for one in rankers])
    found = run.systems
    compared = differences(found, FIRST_STAGE, without=[RANDOM])
    if rankings is not None:
        run.notes += _write_rankings(Path(rankings), found, sets)
    return Evaluation(
        records=(*(record for one in found for record in one.records), *compared),
        tables=(*score_tables(found, sets), *difference_tables(compared)),
        warnings=tuple(dict.fromkeys(run.warnings)),
        notes=tuple(dict.fromkeys((*(note for task in sets for note in task.notes), *run.notes))),
        seconds=time.perf_counter() - started,
    )


def _nothing(models: Any) -> bool:
    return models is None or (isinstance(models, list | tuple) and not models)


def _name(model: Any) -> str:
    return str(model) if isinstance(model, str | Path) else str(model.name)


def _sets(data: Data | Iterable[Data] | None, tasks: str | Sequence[str] | None, split: str) -> list[RetrievalSet]:
    """The sets to measure.

    Raises:
        SlonikError: there is none, two of one name, or a name that there is not.
    """
    given: list[Data] = [] if data is None else [data] if isinstance(data, str | Path | RetrievalSet) else list(data)
    if not given:
        raise SlonikError(
            "there is nothing to retrieve from: name a folder with corpus.jsonl, queries.jsonl and qrels/"
        )
    places: dict[str, Path | RetrievalSet] = {}
    for one in given:
        parts = [one] if isinstance(one, RetrievalSet) else find_sets(one)
        for part in parts:
            name = part.name if isinstance(part, RetrievalSet) else part.resolve().name
            if name in places:
                raise SlonikError(f"two sets are called {name!r}: their records could not be told apart, rename one")
            places[name] = part
    wanted = task_names(tasks) or list(places)
    lower = {name.lower(): name for name in places}
    for name in wanted:
        if name not in places and name.lower() not in lower:
            raise SlonikError(unknown_name(name, places, "set"))
    chosen = dict.fromkeys(name if name in places else lower[name.lower()] for name in wanted)
    found = [places[name] for name in chosen]
    return [one if isinstance(one, RetrievalSet) else read_set(one, split) for one in found]


@dataclass
class _Run:
    """Systems over the sets."""

    opening: Opening
    sets: Sequence[RetrievalSet]
    split: str
    top: int
    seed: int
    passport: bool
    tell: OnTask
    scores: dict[str, SystemScores] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def systems(self) -> list[SystemScores]:
        return [one for name, one in self.scores.items() if name not in self.hidden]

    def first_stage(self, model: Any, *, shown: bool = True) -> None:
        """Rank every set; `shown` False: only for what comes after it."""
        if _name(model) in self.scores:
            return
        ranker = self.opening.ranker(model)
        scores = SystemScores(ranker.name, baseline=ranker.name in (*LEXICAL, RANDOM))
        for task in self.sets:
            self.tell(ranker.name, task.name)
            started = time.perf_counter()
            ranking = ranker.rank(task, max(DEEPEST, self.top))
            scores.add(
                task, ranking, variant=self._variant(task), seed=self.seed, identity=ranker.identity,
                seconds=time.perf_counter() - started, detail=ranker.detail,
            )  # fmt: skip
        self.notes += [f"{ranker.name}: {note}" for note in ranker.notes]
        if not shown:
            self.hidden.add(ranker.name)
        self._keep(model, scores)

    def second_stage(self, model: Any, firsts: Sequence[str], *, alone: bool = False) -> None:
        """Put the rankings of `firsts` into a new order; `alone`: the system has the cross-encoder's own name."""
        reranker = Reranker(self.opening.reranker(model), self.top, self.opening.long_texts)
        for first in (self.scores[name] for name in firsts):
            name = reranker.name if alone else f"{first.model} + {reranker.name}"
            scores = SystemScores(name, first.model)
            for task in self.sets:
                self.tell(name, task.name)
                before = first.measured[task.name, next(iter(METRICS))].record
                started = time.perf_counter()
                ranking = reranker.rerank(task, first.rankings[task.name])
                detail = {key: value for key, value in before.detail.items() if key != "baseline"}
                scores.add(
                    task, ranking, variant=self._variant(task), seed=self.seed,
                    identity=sha256_json([before.hashes.get("weights", first.model), reranker.identity]),
                    seconds=(before.seconds or 0.0) + time.perf_counter() - started,
                    detail={**detail, **reranker.detail, "first_stage": first.model},
                )  # fmt: skip
            self.notes += [f"{name}: {note}" for note in reranker.notes]
            reranker.notes.clear()
            self._keep(model, scores)

    def _keep(self, model: Any, scores: SystemScores) -> None:
        scores.add_means(self.sets)
        self.scores[scores.model] = scores
        if self.passport and isinstance(model, str | Path):
            self.warnings += add_to_passport(model, scores.records)

    def _variant(self, task: RetrievalSet) -> str:
        return "" if task.source is None else self.split


def _write_rankings(folder: Path, found: Sequence[SystemScores], sets: Sequence[RetrievalSet]) -> list[str]:
    names = own_names([scores.model for scores in found])
    for scores, name in zip(found, names, strict=True):
        for task in sets:
            write_run(folder / name / f"{task.name}.trec", scores.rankings[task.name], task, scores.model)
            write_text(folder / name / f"{task.name}.queries.jsonl", "".join(scores.lines(task)))
    return [f"rankings of {scores.model}: {folder / name}" for scores, name in zip(found, names, strict=True)]
