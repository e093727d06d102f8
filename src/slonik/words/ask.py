"""What `slonik words MODEL` does: neighbours, sums of words, the odd one out, and scores on lists of judged words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slonik.core.errors import SlonikError
from slonik.core.numbers import check_seed
from slonik.core.progress import shown
from slonik.core.records import Record
from slonik.core.run import Result
from slonik.models.word_vectors import WordVectors
from slonik.reporting.table import Cell, Table
from slonik.words.measuring import SUITE, measure_analogies, measure_pairs, read_analogies, read_pairs
from slonik.words.opening import open_words
from slonik.words.questions import METHODS, Method, Neighbour, nearest, odd_one_out, parse_sum, solve

_TOP = 10  # words that are given
_RANDOM_PAIRS = 2000


@dataclass(frozen=True, kw_only=True)
class Words(Result):
    """What word vectors answered.

    Attributes:
        tables: for people, in the order of the questions.
        notes: what was dropped, made of parts, or is worth knowing when a cosine is read.
    """

    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n\n".join([*map(str, self.tables), *self.notes])


def ask_words(
    model: str | Path | WordVectors,
    *,
    nearest_to: Sequence[str] = (),
    sums: Sequence[str] = (),
    odd: Sequence[Sequence[str]] = (),
    similarity: Sequence[str | Path] = (),
    analogies: Sequence[str | Path] = (),
    method: Method | None = None,
    top: int | None = None,
    layer: int | None = None,
    vocabulary: str | Path | Sequence[str] | None = None,
    texts: str | Path | None = None,
    limit: int | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
    seed: int = 0,
    progress: bool = False,
) -> Words:
    """Ask the word vectors of a model.

    Args:
        model: `navec`, a file of word vectors (word2vec, fastText, navec), a folder of `slonik words train`, or any
            model with a table of tokens.
        nearest_to: words whose neighbours are asked for.
        sums: "король + (женщина - мужчина)".
        odd: lists of words of which one does not belong.
        similarity: files of word pairs with a number. analogies: files of analogies (see `slonik.words.measuring`).
        method: of sums and analogies: "add" or "mul"; None = add, for files of analogies both.
        top: how many words are given, None = ten; of `nearest_to` and `sums`.
        layer, vocabulary, texts, limit, device, trust_remote_code: as `slonik.words.opening.open_words`.
        seed: of intervals. progress: show it on standard error.

    Raises:
        SlonikError: nothing is asked, a word has no vector, a file cannot be read, and as `open_words`.
        MissingExtra: gensim, navec or torch is missing.
    """
    check_seed(seed)
    if not (nearest_to or sums or odd or similarity or analogies):
        raise SlonikError("nothing is asked: give --nearest, --sum, --odd, --similarity or --analogies")
    if method is not None and method not in METHODS:
        raise SlonikError(f"--method is {method!r}: use add (3CosAdd) or mul (3CosMul)")
    if method is not None and not (sums or analogies):
        raise SlonikError("--method is of --sum and --analogies: without one of these leave it out")
    if top is not None and top < 1:
        raise SlonikError(f"--top is {top}: give 1 or more")
    if top is not None and not (nearest_to or sums):
        raise SlonikError("--top is of --nearest and --sum: without one of these leave it out")
    most = top or _TOP
    terms = [parse_sum(text) for text in sums]
    pairs = [(Path(path).stem, read_pairs(path)) for path in similarity]
    questions = [(Path(path).stem, read_analogies(path)) for path in analogies]
    with shown(progress):
        vectors = open_words(
            model, layer=layer, vocabulary=vocabulary, texts=texts, limit=limit, device=device,
            trust_remote_code=trust_remote_code,
        )  # fmt: skip
        records: list[Record] = []
        tables: list[Table] = []
        notes = list(vectors.notes)
        for word in nearest_to:
            found = nearest(vectors, word, most)
            records.append(_answer(vectors, "nearest", word, "cosine", found))
            tables.append(_neighbours("Nearest words", f"nearest to {_as_read(vectors, word)}", "cosine", found))
        for text, parts in zip(sums, terms, strict=True):
            way: Method = method or "add"
            found = solve(vectors, parts, method=way, top=most)
            records.append(_answer(vectors, f"sum_{way}", text, "cosine" if way == "add" else "3cosmul", found))
            tables.append(_neighbours("Sum of words", f"{text} =", METHODS[way], found))
        for group in odd:
            out, ranked = odd_one_out(vectors, group)
            records.append(_answer(vectors, "odd", " ".join(group), "cosine", ranked))
            tables.append(_neighbours("The odd one out", f"{out} is the odd one out", "cosine to the mean", ranked))
        records += (own := [measure_pairs(vectors, rows, name, seed=seed) for name, rows in pairs])
        tables += [_similarity_table(own)] if own else []
        chosen: tuple[Method, ...] = (method,) if method else tuple(METHODS)
        scored = [
            r for name, rows in questions for r in measure_analogies(vectors, rows, name, methods=chosen, seed=seed)
        ]
        records += scored
        tables += [_analogy_table(scored, chosen)] if scored else []
    if nearest_to or odd:
        notes.append(_floor(vectors))
    parts_used = [w for w in _asked(nearest_to, terms, odd) if vectors.number(w) is None]
    if parts_used:
        notes.append(f"{', '.join(parts_used)}: no word of the vocabulary; the vector is made of its parts")
    notes += _unknown(own + scored)
    return Words(records=tuple(records), tables=tuple(tables), notes=tuple(notes))


def _asked(
    nearest_to: Sequence[str], terms: Sequence[Sequence[tuple[str, int]]], odd: Sequence[Sequence[str]]
) -> list[str]:
    """All words of the questions, each once."""
    found = [*nearest_to, *(word for parts in terms for word, _ in parts), *(word for group in odd for word in group)]
    return list(dict.fromkeys(found))


def _as_read(vectors: WordVectors, word: str) -> str:
    """The word, with the spelling that stands for it."""
    number = vectors.number(word)
    stored = word if number is None else vectors.words[number]
    return word if stored == word else f"{word} (read as {stored})"


def _answer(vectors: WordVectors, task: str, asked: str, metric: str, found: Sequence[Neighbour]) -> Record:
    detail = {"answers": [[each.word, round(each.score, 6)] for each in found]}
    return Record(suite=SUITE, task=task, variant=asked, model=vectors.name, metric=metric, value=found[0].score,
                  n=len(vectors), detail=detail)  # fmt: skip


def _neighbours(title: str, corner: str, column: str, found: Sequence[Neighbour]) -> Table:
    return Table.of(title, (corner, column), [(each.word, _decimal(each.score)) for each in found])


def _decimal(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")


def _share(record: Record) -> Cell | None:
    """The value of a record with its interval."""
    if record.value is None:
        return None
    return Cell(_decimal(record.value), f"[{_decimal(record.low or 0.0)}, {_decimal(record.high or 0.0)}]")


def _similarity_table(records: Sequence[Record]) -> Table:
    lines = [(r.task, _share(r), r.n, r.detail["missing"], r.detail["made_of_parts"]) for r in records]
    columns = ("pairs of words", "Spearman", "pairs", "pairs without a vector", "words made of parts")
    note = "over the pairs that have vectors, 95 % interval over pairs"
    return Table.of("Alike as people see it", columns, lines, [note])


def _analogy_table(records: Sequence[Record], methods: Sequence[Method]) -> Table:
    cells = {(record.task, record.variant): record for record in records}
    lines = []
    for task in dict.fromkeys(record.task for record in records):
        own = [cells[task, f"analogies_{method}"] for method in methods]
        lines.append((task, *map(_share, own), own[0].n, own[0].detail["missing"]))
    columns = ("analogies", *(METHODS[method] for method in methods), "questions", "without a vector")
    note = (
        "share right over the questions whose four words have vectors; words of a question are no answers; the "
        "interval is over questions, which share their words: in truth it is wider"
    )
    return Table.of("Analogies", columns, lines, [note])


def _floor(vectors: WordVectors) -> str:
    """What cosine two words have that have nothing to do with one another: against it the others are read."""
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, len(vectors), (2, _RANDOM_PAIRS))
    apart = first != second
    if not apart.any():
        return f"{vectors.name} has one word alone"
    cosines = (vectors.unit[first[apart]] * vectors.unit[second[apart]]).sum(1)
    low, high = np.percentile(cosines, [2.5, 97.5])
    return (
        f"{vectors.name}, {len(vectors):,} words: two words drawn at random have a cosine of "
        f"{_decimal(float(cosines.mean()))} (95 % of pairs from {_decimal(float(low))} to {_decimal(float(high))})"
    )


def _unknown(records: Sequence[Record]) -> list[str]:
    """The words of lists that have no vector, by list."""
    notes = []
    for name, words_ in {r.task: r.detail["unknown_words"] for r in records if r.detail.get("unknown_words")}.items():
        more = f" and {len(words_) - 8:,} more" if len(words_) > 8 else ""
        notes.append(f"{name}: {len(words_):,} words have no vector: {', '.join(words_[:8])}{more}")
    return notes
