"""Word vectors against what people have judged: analogies by section, and how alike two words are.

Files: analogies as word2vec's questions-words (`: section`, then four words a line; the fourth is the answer); pairs
of words with a number, with commas, semicolons or tabs between, with or without a line of names (RUSSE's HJ, RT and AE
files: `word1,word2,sim`; RuSimLex965; WordSim353). Nothing is fetched.

A question of a word without a vector cannot be answered: it is counted, and the share of right answers is given over
the questions that could be asked, and over all of them.

Shapes: Q questions, V words.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from slonik.core.errors import SlonikError
from slonik.core.progress import track, warn_once
from slonik.core.protocols import FloatArray
from slonik.core.records import Record
from slonik.evaluation.statistics import Mean, Spearman, interval, replicates, value_of
from slonik.models.word_vectors import WordVectors
from slonik.text.lines import numbered_lines
from slonik.words.questions import METHODS, Method, combined

SUITE = "words"
_BLOCK = 64  # questions scored at once: 64 x 250,000 cosines are 64 MB
_SPLITS = ("\t", ";", ",")


@dataclass(frozen=True)
class Analogy:
    """first : second = third : answer, of a section of its file."""

    section: str
    words: tuple[str, str, str, str]


@dataclass(frozen=True)
class Pair:
    """Two words and how alike they were judged."""

    first: str
    second: str
    judged: float


SAMPLE = "sample"
"""Names the analogies of our own, where a file of analogies is asked for."""


def read_analogies(path: str | Path) -> list[Analogy]:
    """The questions of a file in the form of word2vec's questions-words; "sample" is a small set of our own.

    Raises:
        SlonikError: the file cannot be read, a line has not four words, or there is no question.
    """
    if str(path) == SAMPLE and not Path(path).is_file():
        with resources.as_file(resources.files("slonik.words") / "analogies_ru.txt") as own:
            return read_analogies(own)
    found, section = [], Path(path).stem
    for number, line in numbered_lines(Path(path)):
        fields = line.split()
        if not fields or line.startswith("#"):
            continue
        if fields[0].startswith(":"):
            section = line.strip().removeprefix(":").strip() or section
            continue
        if len(fields) != 4:
            raise SlonikError(f"{path}, line {number}: {len(fields)} words; an analogy has four, such as мужчина "
                              "король женщина королева")  # fmt: skip
        found.append(Analogy(section, (fields[0], fields[1], fields[2], fields[3])))
    if not found:
        raise SlonikError(f"{path} holds no analogy: write four words a line, sections as `: name`")
    return found


def read_pairs(path: str | Path) -> list[Pair]:
    """Pairs of words with a number each; a first line that has none is taken for names.

    A file of more columns must name them: two that hold `word` in their name, and one of `sim`, `similarity`, `score`,
    `average_score`, `mean`.

    Raises:
        SlonikError: the file cannot be read, a line is no pair with a number, or there is none.
    """
    lines = [(number, line) for number, line in numbered_lines(Path(path)) if line.strip() and not line.startswith("#")]
    if not lines:
        raise SlonikError(f"{path} holds no pair of words: write WORD,WORD,NUMBER a line")
    split = next((sign for sign in _SPLITS if sign in lines[0][1]), None)
    rows = [(n, next(csv.reader([line], delimiter=split)) if split else line.split()) for n, line in lines]
    columns = (0, 1, 2)
    names = [name.strip().lower() for name in rows[0][1]]
    if not any(_number(cell) is not None for cell in names):
        named = len(names) != 3 or "sim" in names
        columns = _columns(names, path) if named else columns
        if not any("word" in name or "слово" in name for name in names):
            warn_once(f"{path}: the first line, {lines[0][1].strip()[:60]!r}, has no number: read as names of columns")
        rows = rows[1:]
    elif len(names) > 3:
        raise SlonikError(f"{path} has {len(names)} columns without names: give two words and a number, or name them "
                          "(word1,word2,sim)")  # fmt: skip
    found = []
    for number, cells in rows:
        judged = _number(cells[columns[2]]) if len(cells) > max(columns) else None
        first, second = (cells[place].strip() if len(cells) > place else "" for place in columns[:2])
        if judged is None or not first or not second:
            raise SlonikError(f"{path}, line {number}: no two words and a number: {' '.join(cells)[:80]!r}")
        found.append(Pair(first, second, judged))
    if not found:
        raise SlonikError(f"{path} holds names of columns and no pair")
    return found


def _columns(names: Sequence[str], path: str | Path) -> tuple[int, int, int]:
    words = [place for place, name in enumerate(names) if "word" in name or "слово" in name]
    judged = [
        place for place, name in enumerate(names) if re.fullmatch(r"(average_|mean_)?(sim\w*|score|mean|hj)", name)
    ]
    if len(words) != 2 or len(judged) != 1:
        raise SlonikError(f"{path}: which columns are the two words and their number? Name them word1, word2 and sim; "
                          f"there are {', '.join(names)}")  # fmt: skip
    return words[0], words[1], judged[0]


def _number(cell: str) -> float | None:
    try:
        value = float(cell.strip().replace(",", "."))
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def measure_pairs(vectors: WordVectors, pairs: Sequence[Pair], name: str, *, seed: int = 0) -> Record:
    """Spearman's correlation of cosines and judgements over the pairs that have vectors, with its interval.

    `detail`: `missing` pairs, the words without a vector, and the pairs whose vectors were made of parts.

    Raises:
        SlonikError: fewer than three pairs have vectors, or all were judged alike.
    """
    seen: dict[str, FloatArray | None] = {}
    for word in (word for pair in pairs for word in (pair.first, pair.second)):
        if word not in seen:
            vector = vectors.vector(word)
            seen[word] = None if vector is None or not np.any(vector) else vectors.normalised(vector)
    judged, cosines = [], []
    for pair in pairs:
        first, second = seen[pair.first], seen[pair.second]
        if first is not None and second is not None:
            judged.append(pair.judged)
            cosines.append(round(float(first @ second), 6))  # the rest is noise of float32, which would break ties
    unknown = sorted(word for word, vector in seen.items() if vector is None)
    if len(judged) < 3:
        raise SlonikError(f"{vectors.name} has vectors of both words for {len(judged)} of {len(pairs)} pairs of {name}"
                          f": a correlation wants three at least (no vector: {', '.join(unknown[:5])})")  # fmt: skip
    if len(set(judged)) == 1:
        raise SlonikError(f"all pairs of {name} that have vectors were judged {judged[0]:g}: there is nothing to rank")
    statistic = Spearman(judged, cosines)
    found = interval(value_of(statistic), replicates(statistic, seed=seed, sample=f"words {name}"))
    parts = sum(1 for word, vector in seen.items() if vector is not None and vectors.number(word) is None)
    detail = {
        "pairs": len(pairs),
        "missing": len(pairs) - len(judged),
        "unknown_words": unknown,
        "made_of_parts": parts,
    }
    return _record(vectors, "similarity", name, "spearman", seed, **found.fields, n=len(judged), detail=detail)


def measure_analogies(
    vectors: WordVectors, questions: Sequence[Analogy], name: str, *, methods: Iterable[Method] = METHODS, seed: int = 0
) -> list[Record]:
    """The share of questions whose answer is the right word, by section and in all, for each method.

    The three words of a question are no answers. `detail`: questions that could not be asked (`missing`), the share
    over all questions (`of_all`), the words without a vector.

    Raises:
        SlonikError: no question has all its words.
    """
    rows = [[vectors.number(word) for word in question.words] for question in questions]
    known = [place for place, row in enumerate(rows) if None not in row]
    unknown = sorted({w for q, row in zip(questions, rows, strict=True) for w, n in zip(q.words, row, strict=True)
                      if n is None})  # fmt: skip
    if not known:
        raise SlonikError(f"none of the {len(questions)} analogies of {name} has all its words in {vectors.name} (no "
                          f"vector: {', '.join(unknown[:5])})")  # fmt: skip
    numbers = np.array([rows[place] for place in known], dtype=np.int64)  # (Q, 4)
    right = {method: np.zeros(len(known)) for method in methods}
    signs = np.array([-1, 1, 1])
    starts = range(0, len(known), _BLOCK)
    for start in track(starts, f"analogies of {name}", len(starts)):
        block = numbers[start : start + _BLOCK]
        words, places = np.unique(block[:, :3], return_inverse=True)
        cosines = vectors.unit[words] @ vectors.unit.T  # (words of the block, V)
        for line, (asked, where) in enumerate(zip(block, places.reshape(-1, 3), strict=True)):
            to_each = cosines[where].T  # (V, 3)
            for method in right:
                scores = combined(to_each, signs, method)
                scores[asked[:3]] = -np.inf
                right[method][start + line] = float(scores.argmax() == asked[3])
    sections = list(dict.fromkeys(question.section for question in questions))
    records = []
    for method, hits in right.items():
        for section in ["", *sections] if len(sections) > 1 else [""]:
            own = [i for i, place in enumerate(known) if section in ("", questions[place].section)]
            asked_of = sum(1 for question in questions if section in ("", question.section))
            task = f"{name}: {section}" if section else name
            detail = {"questions": asked_of, "missing": asked_of - len(own), "method": METHODS[method]}
            if not section:
                detail |= {"unknown_words": unknown}
            if not own:
                records.append(_record(vectors, f"analogies_{method}", task, "accuracy", seed, value=None, n=0,
                                       detail=detail))  # fmt: skip
                continue
            statistic = Mean(hits[own])
            found = interval(value_of(statistic), replicates(statistic, seed=seed, sample=f"words {task}"), n=len(own))
            detail |= {"of_all": float(hits[own].sum()) / asked_of}
            records.append(_record(vectors, f"analogies_{method}", task, "accuracy", seed, **found.fields, n=len(own),
                                   detail=detail))  # fmt: skip
    return records


def _record(vectors: WordVectors, variant: str, task: str, metric: str, seed: int, **fields: object) -> Record:
    return Record(suite=SUITE, task=task, variant=variant, model=vectors.name, metric=metric, seed=seed, **fields)  # type: ignore[arg-type]
