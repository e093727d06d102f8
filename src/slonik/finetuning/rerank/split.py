"""The user's queries as three parts: to fit, to choose the checkpoint by, to measure; over one numbering of documents.

Queries are split, never rows: what is measured was asked by no query that was learned from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.hashing import derive_seed, sha256_json
from slonik.data.rankings import Asked, Rankings, read_rankings
from slonik.data.retrieval import splits_of
from slonik.finetuning.rerank.config import RerankRecipe
from slonik.finetuning.rows import Rows, rows_in_memory

FEWEST = 8
FEWEST_STOPPING = 20
_MOST_STOPPING = 0.4
TRAIN, DEVELOPMENT, TEST = "train", "dev", "test"


@dataclass(frozen=True)
class Split:
    """Queries over one numbering of documents.

    Attributes:
        documents: N texts.
        fit, stop, measured: queries.
        name: of what is measured: "held_out", "valid", or a folder's split.
        notes: what was left out, in sentences.
        identity: hash of all of it.
    """

    documents: Sequence[str]
    fit: Sequence[Asked]
    stop: Sequence[Asked]
    measured: Sequence[Asked]
    name: str
    notes: tuple[str, ...]
    identity: str

    @property
    def free(self) -> NDArray[np.bool_]:
        """(N,) documents that may be negatives: with a text, and relevant to no query that is held out."""
        found = np.array([bool(text.strip()) for text in self.documents])
        for asked in (*self.stop, *self.measured):
            found[asked.relevant] = False
        return found


def split_data(recipe: RerankRecipe, train: Rows, valid: Rows | None) -> Split:
    """Read and split.

    Raises:
        SlonikError: as `read_rankings`; or too few queries.
    """
    parts = [_read(train, recipe, TRAIN)]
    names = ["fit"]
    if isinstance(train, str | Path) and DEVELOPMENT in splits_of(train):
        parts, names = [*parts, _read(train, recipe, DEVELOPMENT)], [*names, "stop"]
    if valid is not None:
        parts, names = [*parts, _read(valid, recipe, TEST)], [*names, "measured"]
    documents, numbered = merged(parts)
    found = dict(zip(names, numbered, strict=True))
    notes = [note for part in parts for note in part.notes]
    fit = list(found["fit"])
    rng = np.random.default_rng(derive_seed(recipe.seed, "queries", len(fit)))
    fit = [fit[place] for place in rng.permutation(len(fit))]
    measured, fit = (found["measured"], fit) if "measured" in found else _cut(fit, recipe.held_out)
    share = min(_MOST_STOPPING, max(recipe.stopping, FEWEST_STOPPING / max(1, len(fit))))
    stop, fit = (found["stop"], fit) if "stop" in found else _cut(fit, share)
    held = {asked.text for asked in (*measured, *stop)}
    fresh = [asked for asked in fit if asked.text not in held]
    if len(fresh) < len(fit):
        notes.append(f"{len(fit) - len(fresh)} queries are held out too: they are not learned from")
    both = {asked.text for asked in measured}
    stop = [asked for asked in stop if asked.text not in both][: recipe.development]
    fresh = fresh[: recipe.max_queries]
    if len(fresh) < FEWEST or not stop or not measured:
        raise SlonikError(
            f"there are {len(fresh)} queries to learn from, {len(stop)} to choose by and {len(measured)} to measure: "
            f"give at least {FEWEST} to learn from and one of each other"
        )
    name = "held_out" if valid is None else TEST if _is_folder(valid) else "valid"
    facts = [part.identity() for part in parts]
    settings = [recipe.seed, recipe.held_out, recipe.stopping, recipe.development, recipe.max_queries, names]
    return Split(documents, fresh, stop, measured, name, tuple(notes), sha256_json([facts, settings]))


def _is_folder(source: Rows | None) -> bool:
    return isinstance(source, str | Path) and Path(source).is_dir()


def _read(source: Rows, recipe: RerankRecipe, split: str) -> Rankings:
    rows: Any = source if isinstance(source, str | Path) else rows_in_memory(source)
    return read_rankings(rows, columns=recipe.text_columns, label=recipe.label_column, split=split)


def _cut(queries: list[Asked], share: float) -> tuple[list[Asked], list[Asked]]:
    count = max(1, round(share * len(queries)))
    return queries[:count], queries[count:]


def merged(parts: Sequence[Rankings]) -> tuple[list[str], list[list[Asked]]]:
    """Documents of several, each text once, and the queries of each with their numbers among these."""
    numbers: dict[str, int] = {}
    for part in parts:
        for text in part.documents:
            numbers.setdefault(text, len(numbers))
    found = [[Asked(asked.text, _renumbered(asked.grades, part, numbers)) for asked in part.queries] for part in parts]
    return list(numbers), found


def _renumbered(grades: Mapping[int, float], part: Rankings, numbers: Mapping[str, int]) -> dict[int, float]:
    return {numbers[part.documents[number]]: grade for number, grade in grades.items()}
