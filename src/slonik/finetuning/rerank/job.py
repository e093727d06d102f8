"""One training of a reranker: the model to start from, the negatives, the loop, the scores of what came out.

What it reads is split before, what it leaves is put together after it (`run`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from slonik import models
from slonik.core.config import build_config
from slonik.core.errors import MissingExtra, SlonikError
from slonik.core.files import write_json
from slonik.core.identity import checkpoint_identity
from slonik.core.passport import Passport
from slonik.core.run import Announce
from slonik.evaluation.retrieval.bm25 import Bm25, lemmas
from slonik.evaluation.retrieval.rankers import LEXICAL
from slonik.finetuning.config import Tuning
from slonik.finetuning.encoder_learner import usual_rate
from slonik.finetuning.rerank.bi_encoder import BatchLoss, BiEncoder
from slonik.finetuning.rerank.config import RerankRecipe
from slonik.finetuning.rerank.cross_encoder import LENGTH, CrossEncoder, PairLoss, continued, cross_encoder_config
from slonik.finetuning.rerank.examples import Examples
from slonik.finetuning.rerank.lists import (
    Lists,
    Scores,
    by_chance,
    by_vectors,
    by_words,
    document_vectors,
    query_vectors,
)
from slonik.finetuning.rerank.negatives import Draw, Mined, mined_by_vectors, mined_by_words
from slonik.finetuning.rerank.split import Split
from slonik.finetuning.train import copy_of, prepared, train_config
from slonik.models.encoder import TorchEncoder
from slonik.models.kinds import kind_of, resolve
from slonik.models.task_model import TaskModel, load_task_model, new_task_model
from slonik.train.loop import run as train_loop

MODEL, SCORES, LOG = "model", "scores.json", "metrics.jsonl"
UNTRAINED = "untrained"
_HEADS = ("head", "task")
_NEGATIVES = {"cross-encoder": 4, "bi-encoder": 1}
_USUAL: dict[str, dict[str, Any]] = {
    "cross-encoder": {"epochs": 3.0, "batch_texts": 8, "batch_tokens": 8192},
    "bi-encoder": {"epochs": 3.0, "batch_texts": 16, "batch_tokens": None, "layer_decay": 1.0},
}
_TIE = 1e-3


class Start:
    """The model to start from: an encoder, or for a cross-encoder one that is there.

    Args:
        loaded: the encoder; None: the one that the recipe names, loaded when it is first needed.

    Raises:
        SlonikError: there is no such model, or it cannot become what the recipe wants.
    """

    def __init__(self, recipe: RerankRecipe, loaded: TorchEncoder | None) -> None:
        self._recipe, self._loaded = recipe, loaded
        self.headed = False
        if loaded is not None:
            self.identity = loaded.identity()
            return
        kind = kind_of(recipe.model)
        self.headed = kind.name in _HEADS
        if kind.name in ("baseline", "exported", "tagger") or kind.in_words or kind.folder is None:
            raise SlonikError(
                f"{recipe.model} is {kind}: a {recipe.kind} is trained from an encoder's weights, like those of "
                "embedded:multilingual-e5-small"
            )
        if self.headed and recipe.kind == "bi-encoder":
            raise SlonikError(
                f"{recipe.model} has a head for a task: a bi-encoder is trained from a sentence encoder; take "
                "--kind cross-encoder to train this one further"
            )
        self.identity = checkpoint_identity(resolve(recipe.model))

    @cached_property
    def encoder(self) -> TorchEncoder:
        """The sentence encoder, untrained."""
        return self._loaded if self._loaded is not None else models.load(self._recipe.model)

    def headed_model(self) -> TaskModel:
        """The cross-encoder that is there, loaded anew.

        Raises:
            SlonikError: its head is for another task.
        """
        found = load_task_model(resolve(self._recipe.model))
        if found.config.target != "number":
            raise SlonikError(
                f"{self._recipe.model} gives {found.config.target} labels: a cross-encoder gives one number; start "
                "from an encoder, or from a cross-encoder"
            )
        return found

    def cross_encoder(self) -> TaskModel:
        """The model to train: a new head on a copy of the encoder, or the one that is there."""
        if self.headed:
            found = self.headed_model()
            found.config = continued(found.config, self._recipe)
            return found
        config = cross_encoder_config(self._recipe, self.encoder.max_length)
        return new_task_model(copy_of(self.encoder), config, seed=self._recipe.seed)


class Job:
    """One training: what it reads, and its steps.

    Args:
        announce: called with a line about what was mined and measured.
    """

    def __init__(self, recipe: RerankRecipe, start: Start, split: Split, announce: Announce) -> None:
        self.recipe, self.start, self.split, self._announce = recipe, start, split, announce
        self._lexicon = _lexicon(announce)
        self._tuning: Tuning | None = None

    @cached_property
    def index(self) -> Bm25:
        """BM25 over all documents."""
        return Bm25(self.split.documents, LEXICAL[self._lexicon])

    @cached_property
    def measured(self) -> Lists:
        """Measured queries and their candidates."""
        return Lists.of(self.index, self.split.measured, self.recipe.candidates)

    def inputs(self, *, trained: bool) -> dict[str, Any]:
        """Everything that decides a step."""
        found: dict[str, Any] = {"model": self.start.identity, "data": self.split.identity, "words": self._lexicon}
        if not trained:
            return found | {"candidates": self.recipe.candidates, "seed": self.recipe.seed, "kind": self.recipe.kind}
        settings = self.recipe.model_dump(mode="json", exclude={"model", "out", "train", "valid", "tuning"})
        tuning = self.recipe.tuning.model_dump(mode="json", exclude={"save_every_minutes"})
        return found | {"settings": settings, "tuning": tuning}

    def measure_baselines(self, folder: Path) -> Mapping[str, Any]:
        """Scores of BM25, of chance and of the model as it is."""
        lists, documents = self.measured, self.split.documents
        orders = {self._lexicon: by_words(self.index), "random": by_chance(self.recipe.seed)}
        if self.start.headed:
            orders[UNTRAINED] = CrossEncoder(self.start.headed_model(), documents).scores
        else:
            orders[UNTRAINED] = by_vectors(self.start.encoder, documents)
        write_scores(folder, {name: order(lists.queries, lists.candidates) for name, order in orders.items()})
        return {"queries": len(lists.queries), "candidates": int(sum(map(len, lists.candidates)))}

    def train(self, folder: Path, scratch: Path) -> Mapping[str, Any]:
        """Mine, train, choose the checkpoint, measure; `scratch` is where the loop keeps its checkpoints."""
        recipe, split = self.recipe, self.split
        mined = self._mined()
        count = recipe.negatives or _NEGATIVES[recipe.kind]
        pool = np.flatnonzero(split.free)
        draws = [Draw(asked, own, pool, count) for asked, own in zip(split.fit, mined.negatives, strict=True)]
        examples = Examples.of(split.fit, draws, count, split.identity)
        subject: CrossEncoder | BiEncoder
        objective: PairLoss | BatchLoss
        if recipe.kind == "cross-encoder":
            model = self.start.cross_encoder()
            subject, objective, width = CrossEncoder(model, split.documents), PairLoss(recipe.loss), model.encoder
        else:
            width = copy_of(self.start.encoder)
            subject = BiEncoder(width, split.documents, recipe.tuning.max_length or LENGTH)
            objective = BatchLoss(recipe.temperature)
        tuning = self._settings(width.hidden_size)
        loader = subject.loader(
            examples, max_texts=tuning.batch_texts, max_tokens=tuning.batch_tokens, seed=recipe.seed
        )
        self._tell_cuts(examples, subject)
        plan = train_config(tuning, len(loader.plan(0)), recipe.seed)
        development = Lists.of(self.index, split.stop, recipe.candidates)

        def evaluate(_module: nn.Module) -> dict[str, float]:
            values = development.per_query(subject.scores(development.queries, development.candidates))
            found = {name: float(one.mean()) for name, one in values.items()}
            return {**found, "choice": found["ndcg@10"] + _TIE * found["mrr@10"]}

        identity = {"base": self.start.identity, "kind": recipe.kind}
        with prepared(subject.module, tuning):
            summary = train_loop(subject.module, objective, loader, plan, scratch, evaluate=evaluate, identity=identity)
        subject.save(folder / MODEL, self._passport())
        write_scores(folder, {recipe.kind: subject.scores(self.measured.queries, self.measured.candidates)})
        shutil.copy(summary.metrics, folder / LOG)
        assert summary.best is not None
        return {
            **summary.best.metrics, "steps": summary.step, "best_step": summary.best.step,
            "train_seconds": summary.seconds, "precision": summary.precision, "documents": len(split.documents),
            "fit": len(split.fit), "stopping": len(split.stop), "measured": len(split.measured),
            "examples": len(examples.places), "mined": int(sum(map(len, mined.negatives))), "guarded": mined.guarded,
        }  # fmt: skip

    def _tell_cuts(self, examples: Examples, subject: CrossEncoder | BiEncoder) -> None:
        """Say how many texts of the examples are longer than is read in training."""
        together = self.recipe.kind == "cross-encoder"
        cut = examples.longer(subject.tokenizer, self.split.documents, subject.length, together=together)
        if cut:
            what = "queries with their relevant document" if together else "relevant documents"
            self._announce(f"{cut} of {len(examples.places)} {what} have more than {subject.length} tokens: cut there")

    def _passport(self) -> Passport:
        return self.start.headed_model().encoder.passport if self.start.headed else self.start.encoder.passport

    def _settings(self, width: int) -> Tuning:
        """The user's settings over those of the kind; a learning rate by the width of the encoder."""
        kind, given = self.recipe.kind, self.recipe.tuning.model_dump(include=self.recipe.tuning.model_fields_set)
        rate = usual_rate(width, given.get("freeze")) / (2 if kind == "bi-encoder" else 1)
        return build_config(Tuning, {**_USUAL[kind], "learning_rate": rate, **given}, source="the settings")

    def _mined(self) -> Mined:
        recipe, split = self.recipe, self.split
        how = self._lexicon if recipe.mine == "auto" else recipe.mine
        without = [np.zeros(0, dtype=np.int64) for _ in split.fit]
        own = [len(asked.grades) > len(asked.relevant) for asked in split.fit]
        wanted = [place for place in range(len(own)) if recipe.mine != "auto" or not own[place]]
        if how == "random" or not wanted:
            return Mined(without, 0)
        queries = [split.fit[place] for place in wanted]
        if how == "encoder":
            if self.start.headed:
                raise SlonikError(f"{recipe.model} is a cross-encoder, which finds nothing by itself: --mine bm25")
            asked = query_vectors(self.start.encoder, queries)
            read = document_vectors(self.start.encoder, split.documents)
            found = mined_by_vectors(
                lambda place: read @ asked[place], queries, split.free, recipe.depth, recipe.margin
            )
        else:
            analyse = LEXICAL[how]
            index = self.index if how == self._lexicon else Bm25(split.documents, analyse)
            found = mined_by_words(index, analyse, split.documents, queries, split.free, recipe.depth, recipe.margin)
        for place, negatives in zip(wanted, found.negatives, strict=True):
            without[place] = negatives
        self._announce(
            f"mined {sum(map(len, without))} negatives for {len(queries)} queries by {how}; {found.guarded} were too "
            "near to a relevant document"
        )
        return Mined(without, found.guarded)


def _lexicon(announce: Announce) -> str:
    """BM25 over lemmas, or over words where pymorphy3 is not installed."""
    try:
        lemmas("слово")
    except MissingExtra:
        announce("pymorphy3 is not installed: BM25 is over words as they stand, which is weak in Russian")
        return "bm25_words"
    return "bm25"


def write_scores(folder: Path, scores: Mapping[str, Scores]) -> None:
    """Keep scores of systems for their candidates."""
    content = {
        name: [np.asarray(one, dtype=float).round(6).tolist() for one in found] for name, found in scores.items()
    }
    write_json(folder / SCORES, content)


def read_scores(folder: Path) -> dict[str, Scores]:
    """What `write_scores` kept."""
    content = json.loads((folder / SCORES).read_text(encoding="utf-8"))
    return {name: [np.array(one) for one in found] for name, found in content.items()}
