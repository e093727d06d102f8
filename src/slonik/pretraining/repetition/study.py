"""What happens when a corpus is read again and again: the study behind FRED-T5's accident.

FRED-T5 saw 3.5 GB of its 300 GB more than 200 times and did not over-fit; T5's authors (Raffel et al. 2020, section
3.5.2) found harm from 64 repeats on, with one denoiser. Here the same budget of tokens is spent on the whole corpus,
or on 1/4, 1/16, 1/64, 1/256 of it repeated, by masked words, by T5's single denoiser and by FRED-T5's seven; and once
by the source's own schedule: a small part for two thirds of the steps, then everything. Each run is resumable, and
skipped when it is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slonik.compression.result import Announce
from slonik.core import files
from slonik.core.errors import SlonikError
from slonik.core.records import Record, write_records
from slonik.core.run import Steps
from slonik.data.documents import read_documents
from slonik.pretraining.corpus_shards import PreparedCorpus, corpus_key, prepare_corpus, tokenised
from slonik.pretraining.data import check_corpus
from slonik.pretraining.denoisers import FRED_T5, sentinels_needed
from slonik.pretraining.repetition.config import RepetitionConfig
from slonik.pretraining.repetition.report import curves_plot, markdown_table, study_records
from slonik.pretraining.repetition.runs import RunPlan, plans, train_run
from slonik.text.tokenizers.families import DEFAULT_SENTINELS
from slonik.text.tokenizers.token_facts import token_facts
from slonik.text.tokenizers.training import TrainConfig as TokenizerConfig
from slonik.text.tokenizers.training import train as train_tokenizer
from slonik.text.tokenizing import load_tokenizer, write_tokenizer

_TOKENIZER_DOCUMENTS = 20_000


@dataclass(frozen=True)
class Study:
    """What came out: records, the table as Markdown, and the folder with plots."""

    out: Path
    records: list[Record]
    table: str


def run_study(config: RepetitionConfig, announce: Announce = lambda line: None) -> Study:
    """Run what is not done yet, then write `records.json`, `table.md` and a plot per objective to `config.out`.

    Raises:
        SlonikError: an empty or too short corpus, one in another language, or an interruption (run again to go on).
    """
    out = Path(config.out)
    check_corpus(config.corpus)
    steps = Steps(out / "runs", announce)
    asked = {"corpus": config.corpus.model_dump(mode="json"), "vocab_size": config.vocab_size}
    asked["sentinels"] = _sentinels(config)
    found = steps.run("tokenizer", asked, "training the tokenizer", lambda folder: _tokenizer(config, folder))
    tokenizer = load_tokenizer(found.folder / "tokenizer")
    pieces = token_facts(tokenizer)
    key = corpus_key(config.corpus, tokenizer)
    corpus = prepare_corpus(config.corpus, tokenizer, out / "runs" / f"corpus-{key[:12]}")
    _check_size(config, corpus)
    held_out = tokenised([document.text for document in corpus.held_out], tokenizer, key)
    curves: dict[RunPlan, Mapping[str, Any]] = {}
    todo = plans(config)
    for number, plan in enumerate(todo, start=1):
        inputs = _inputs(plan, config) | {"corpus": key}
        scratch = steps.scratch(plan.name, inputs)

        def work(folder: Path, plan: RunPlan = plan, scratch: Path = scratch) -> Mapping[str, Any]:
            del folder
            return train_run(plan, config, corpus.train, held_out, pieces, scratch)

        curves[plan] = steps.run(plan.name, inputs, f"run {number} of {len(todo)}: {plan.name}", work).summary
    return _written(curves, config, out)


def _tokenizer(config: RepetitionConfig, folder: Path) -> Mapping[str, Any]:
    """One vocabulary for all objectives: FRED-T5's special tokens and a mask token."""
    settings = TokenizerConfig(
        kind="bpe", vocab_size=config.vocab_size, family="fred-t5", sentinels=_sentinels(config),
        extra_specials=("<mask>",),
    )  # fmt: skip
    documents = read_documents(config.corpus.files, column=config.corpus.column, border=config.corpus.border)
    texts = (document.text for document, _ in zip(documents, range(_TOKENIZER_DOCUMENTS), strict=False))
    trained = train_tokenizer(settings, texts)
    specials = trained.specials
    write_tokenizer(trained.tokenizer, folder / "tokenizer", names=specials.roles, types=specials.type_ids)
    return {"pieces": trained.tokenizer.get_vocab_size()}


def _sentinels(config: RepetitionConfig) -> int:
    return max(DEFAULT_SENTINELS, sentinels_needed(FRED_T5, config.length))


def _check_size(config: RepetitionConfig, corpus: PreparedCorpus) -> None:
    smallest = corpus.train.token_count // max(config.parts)
    if smallest < 2 * config.length:
        raise SlonikError(
            f"1/{max(config.parts)} of the corpus of {corpus.train.token_count:,} tokens is {smallest} tokens, less "
            f"than two sequences of {config.length}: give more text, smaller parts or a shorter length"
        )


def _inputs(plan: RunPlan, config: RepetitionConfig) -> dict[str, Any]:
    """What decides a run: not which other runs there are."""
    left_out = {"out", "corpus", "objectives", "parts", "seeds", "save_every_minutes", "schedule"}
    inputs = config.model_dump(mode="json", exclude=left_out)
    if plan.then_all and config.schedule is not None:
        inputs["schedule"] = config.schedule.model_dump(mode="json")
    return inputs | {"run": plan.name}


def _written(curves: Mapping[RunPlan, Mapping[str, Any]], config: RepetitionConfig, out: Path) -> Study:
    records = study_records(curves, steps=config.steps)
    table = markdown_table(records)
    write_records(out / "records.json", records)
    files.write_text(out / "table.md", table)
    for objective in config.objectives:
        files.write_bytes(out / f"{objective}.png", curves_plot(curves, objective).png)
    return Study(out, records, table)
