"""How an encoder behaves: what its cosines mean, and on what kinds of text it does worse.

Translations say both without labels. Cosines of a text and its translation, and of two texts at random, show what a
cosine of .8 is worth in this model. How often the translation of a text is the nearest among those of its row shows
what the model is bad at: single words, phrases, sentences, pages of ten sentences, and other languages against Russian.
Each row has the same number of candidates, so that rows can be compared; models are, on the same texts.

Pairs are the messages of installed programs (`slonik.data.catalogues`) or the user's own. Not a benchmark of anything
else: interface text, and as hard as its near duplicates make it.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slonik.core.errors import MissingExtra, SlonikError
from slonik.core.protocols import Encoder, FloatArray
from slonik.core.records import Record
from slonik.data.catalogues import demo_pairs, other_messages
from slonik.data.pairs import read_pairs
from slonik.evaluation.statistics import interval_of
from slonik.evaluation.suite import Evaluation, OnTask, opened, several, teller
from slonik.reporting.character import SUITE, character_tables

Pairs = Sequence[tuple[str, str]]
LANGUAGES = {"de": "German", "fr": "French", "uk": "Ukrainian", "pl": "Polish", "tr": "Turkish", "zh": "Chinese"}
CANDIDATES = 200
_LEAST = 30
_PAGE = 10  # sentences
_KINDS = {
    "words": ("single words, English to Russian", 1, 1),
    "phrases": ("phrases of 2 to 5 words, English to Russian", 2, 5),
    "sentences": ("sentences of 6 to 20 words, English to Russian", 6, 20),
}
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def character(
    models: Any,
    *,
    pairs: str | Path | Iterable[tuple[str, str]] | None = None,
    languages: Sequence[str] | None = None,
    candidates: int = CANDIDATES,
    seed: int = 0,
    progress: bool = False,
    on_task: OnTask | None = None,
) -> Evaluation:
    """Measure how encoders behave on translations.

    Args:
        models: a name, a folder or a loaded encoder, or several of these, on the same texts.
        pairs: (English, Russian) texts, or a file of them (.tsv, .po, .mo); None = messages of installed programs.
        languages: codes of `LANGUAGES` to ask Russian with, from the installed programs; None = all that are there.
        candidates: translations of a row, at most.
        seed: decides which texts are drawn.
        progress: say on standard error what is measured.
        on_task: called with a model's name and a kind of text instead.

    Raises:
        SlonikError: an unknown language, too few pairs of every kind, a model that does not encode.
        MissingExtra: no pairs are given and no package with messages is installed.
    """
    unknown = next((code for code in languages or () if code not in LANGUAGES), None)
    if unknown is not None:
        raise SlonikError(f"unknown language {unknown!r}: use {', '.join(LANGUAGES)}")
    if candidates < _LEAST:
        raise SlonikError(f"candidates is {candidates}: use {_LEAST} or more, fewer say nothing")
    rows, notes = _rows(pairs, languages, candidates, random.Random(seed))
    tell, records = teller(on_task, progress), []
    for model in several(models):
        encoder = opened(model)
        for task, (about, given) in rows.items():
            tell(encoder.name, task)
            queries, answers = (_unit(encoder.encode([pair[side] for pair in given])) for side in (0, 1))
            records.append(_found(encoder, task, about, queries @ answers.T, seed))
            if task == "sentences":
                records += _cosines(encoder, queries, answers, seed)
    tables = (*character_tables(records, "cosines"), *character_tables(records, "weak"))
    return Evaluation(records=tuple(records), tables=tables, notes=tuple(notes))


def nearest(encoder: Encoder, texts: Sequence[str], answers: Sequence[str]) -> tuple[list[int], FloatArray]:
    """For each text the place of the nearest answer, and all cosines (N, A)."""
    cosines = _unit(encoder.encode(texts)) @ _unit(encoder.encode(answers)).T
    return cosines.argmax(axis=1).tolist(), cosines


def _rows(
    given: str | Path | Iterable[tuple[str, str]] | None,
    languages: Sequence[str] | None,
    candidates: int,
    draw: random.Random,
) -> tuple[dict[str, tuple[str, Pairs]], list[str]]:
    """Kind of text -> what it is in words, and its pairs of a text and its translation; and what was left out."""
    if given is None:
        pairs = demo_pairs()
    else:
        pairs = list(read_pairs(given)) if isinstance(given, str | Path) else [(str(a), str(b)) for a, b in given]
    pairs = list({russian: (english, russian) for english, russian in pairs}.values())
    pairs = list({english: (english, russian) for english, russian in pairs}.values())
    draw.shuffle(pairs)
    kinds: dict[str, tuple[str, Pairs]] = {
        task: (about, [pair for pair in pairs if _words(pair, least, most)])
        for task, (about, least, most) in _KINDS.items()
    }
    sentences = kinds["sentences"][1]
    pages = [
        (" ".join(a for a, _ in some), " ".join(b for _, b in some))
        for some in (sentences[start : start + _PAGE] for start in range(0, len(sentences) - _PAGE + 1, _PAGE))
    ]
    kinds["pages"] = (f"pages of {_PAGE} sentences, English to Russian", pages)
    for code in LANGUAGES if languages is None else languages:
        kinds[f"from_{code}"] = (f"sentences of 6 to 20 words, {LANGUAGES[code]} to Russian", _across(code, draw))
    enough = {task: found for task, found in kinds.items() if len(found[1]) >= _LEAST}
    notes = [f"{task} is left out: {len(found[1])} pairs" for task, found in kinds.items() if task not in enough]
    if "sentences" not in enough:
        raise SlonikError(
            f"there are {len(sentences)} pairs of sentences of 6 to 20 words: at least {_LEAST} are needed"
        )
    size = min(candidates, *(len(found) for _, found in enough.values()))
    if size < candidates:
        notes.append(f"every row has {size} candidates, for there are no more of one kind")
    return {task: (about, found[:size]) for task, (about, found) in enough.items()}, notes


def _across(code: str, draw: random.Random) -> Pairs:
    """Sentences of another language with their Russian translations, by the English message of both; may be none."""
    try:
        english = dict(demo_pairs(min_words=2))
    except MissingExtra:
        return []
    other = other_messages(code)
    pairs = [(other[key], russian) for key, russian in english.items() if key in other]
    spaced = code != "zh"  # Chinese is written without spaces between words
    found = [pair for pair in pairs if _words((pair[1], pair[1]) if not spaced else pair, 6, 20)]
    found = list({left: (left, right) for left, right in found}.values())
    draw.shuffle(found)
    return found


def _words(pair: tuple[str, str], least: int, most: int) -> bool:
    return all(least <= len(text.split()) <= most for text in pair)


def _unit(vectors: FloatArray) -> FloatArray:
    found: FloatArray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return found


def _found(encoder: Encoder, task: str, about: str, cosines: FloatArray, seed: int) -> Record:
    right = (cosines.argmax(axis=1) == np.arange(len(cosines))).astype(np.float64)
    low, high = interval_of(lambda rows: rows.mean(axis=1), right.tolist()) or (None, None)
    return Record(
        suite=SUITE, task=task, model=encoder.name, metric="accuracy", value=float(right.mean()), low=low, high=high,
        n=len(right), seed=seed, detail={"about": about}, hashes=_hashes(encoder),
    )  # fmt: skip


def _cosines(encoder: Encoder, queries: FloatArray, answers: FloatArray, seed: int) -> list[Record]:
    """Of two Russian texts at random (neighbours in the drawn order), and of a text and its translation."""
    values: Mapping[str, Any] = {
        "random": (answers * np.roll(answers, 1, axis=0)).sum(axis=1), "translated": (queries * answers).sum(axis=1),
    }  # fmt: skip
    found = []
    for task, cosines in values.items():
        low, high = interval_of(lambda rows: rows.mean(axis=1), cosines.tolist()) or (None, None)
        quantiles = {str(at): round(float(np.quantile(cosines, at)), 4) for at in _QUANTILES}
        found.append(
            Record(
                suite=SUITE,
                task=task,
                model=encoder.name,
                metric="cosine",
                value=float(cosines.mean()),
                low=low,
                high=high,
                n=len(cosines),
                seed=seed,
                detail={"quantiles": quantiles},
                hashes=_hashes(encoder),
            )
        )
    return found


def _hashes(encoder: Encoder) -> dict[str, str]:
    identity = getattr(encoder, "identity", None)
    return {"model": identity()} if callable(identity) else {}
