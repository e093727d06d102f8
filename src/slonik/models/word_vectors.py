"""Vectors of words from wherever people keep them: navec, word2vec's text and binary files, fastText, our own folders.

Does: read a file with gensim or navec, check that its numbers are numbers, look words up however they are spelt. Does
not: find out what a file is and whether it is whole (`word_vector_files`), answer questions about words or train
vectors (`slonik.words`), nor read pickles: gensim's own .model and .kv files are refused.

Shapes: V words, D dimensions.
"""

from __future__ import annotations

import json
import logging
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import MissingExtra, SlonikError
from slonik.core.hashing import sha256_bytes, sha256_json
from slonik.core.protocols import FloatArray
from slonik.data.natasha_package import NAVEC, natasha_file
from slonik.models.word_vector_files import (
    FORMATS,
    Format,
    check_binary,
    check_fasttext,
    check_text,
    format_of,
    no_number,
)
from slonik.text.lines import read_json

NAVEC_NAME = "navec"
WORDS_FILE = "words.json"
"""Names the file of vectors in a folder of `slonik words train`, and how it was made."""
_WRONG = (
    AssertionError, IndexError, KeyError, MemoryError, NotImplementedError, OSError, ValueError, struct.error
)  # fmt: skip
_MOST_BROKEN = 0.1  # of the words; beyond it the file is in another encoding, or its first line is wrong


@dataclass(frozen=True, eq=False)
class WordVectors:
    """Words and their vectors.

    Attributes:
        name: what the user called it.
        words: V words, the most frequent first where the file says so.
        rows: (V, D) float32, as they were stored.
        outside: makes the vector (D,) of a word that is not among them, or None where it cannot: fastText from
            n-grams, a transformer from tokens.
        notes: what was dropped or read otherwise than it stands there, a sentence each.
        format: what it was read from.
    """

    name: str
    words: tuple[str, ...]
    rows: FloatArray
    outside: Callable[[str], FloatArray | None] | None = None
    notes: tuple[str, ...] = ()
    format: str = ""
    numbers: Mapping[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.words) != len(self.rows):
            raise ValueError(f"{len(self.words)} words for {len(self.rows)} vectors")
        object.__setattr__(self, "numbers", {word: number for number, word in enumerate(self.words)})

    def __len__(self) -> int:
        return len(self.words)

    @property
    def dimension(self) -> int:
        """D."""
        return int(self.rows.shape[1])

    @cached_property
    def unit(self) -> FloatArray:
        """(V, D) rows of length one; what is all zero stays so."""
        lengths = np.linalg.norm(self.rows, axis=1, keepdims=True)
        found: FloatArray = self.rows / np.maximum(lengths, 1e-12)
        return found

    def number(self, word: str) -> int | None:
        """The row of `word` as it is spelt, else in lower case, else with е for ё; None where there is none."""
        lower = word.lower()
        for spelling in (word, lower, lower.replace("ё", "е")):
            if (found := self.numbers.get(spelling)) is not None:
                return found
        return None

    def vector(self, word: str) -> FloatArray | None:
        """(D,) of a word, stored or made of its parts; None where there is neither."""
        number = self.number(word)
        if number is not None:
            return np.asarray(self.rows[number])
        return None if self.outside is None else self.outside(word)

    def content_hash(self) -> str:
        """sha256 of words and vectors."""
        return sha256_json([sha256_bytes(self.rows.tobytes()), sha256_bytes("\n".join(self.words).encode())])

    def normalised(self, vector: NDArray[np.floating]) -> FloatArray:
        """A vector of length one; zero stays zero."""
        return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), dtype=np.float32)


def is_word_vectors(model: str | Path) -> bool:
    """Whether `model` is `navec`, a file, or a folder of `slonik words train`."""
    path = Path(model).expanduser()
    return path.is_file() or (path / WORDS_FILE).is_file() or (str(model) == NAVEC_NAME and not path.is_dir())


def read_word_vectors(source: str | Path, *, limit: int | None = None) -> WordVectors:
    """Words and vectors of `navec`, of a file, or of a folder of `slonik words train`.

    Args:
        limit: read the first so many words only, which are the most frequent where the file is sorted.

    Raises:
        SlonikError: there is no such file, it is of another format, cut short, damaged, or holds what is no number.
        MissingExtra: gensim or navec is missing.
    """
    path = Path(source).expanduser()
    if str(source) == NAVEC_NAME and not path.exists():
        return _navec(natasha_file(NAVEC, "the word vectors navec"), NAVEC_NAME, limit)
    if (path / WORDS_FILE).is_file():
        name = str(read_json(path / WORDS_FILE).get("vectors", ""))
        if not name or Path(name).name != name:
            raise SlonikError(f"{path / WORDS_FILE} names no file of vectors beside it: train or copy the folder again")
        path /= name
    if not path.is_file():
        raise SlonikError(f"{source} holds no word vectors: give navec, a file ({FORMATS}), or a folder that "
                          "`slonik words train` made")  # fmt: skip
    found = format_of(path)
    if found == "navec":
        return _checked(_navec(path, str(source), limit), path)
    try:
        import gensim  # noqa: F401
    except ModuleNotFoundError:
        raise MissingExtra(f"reading the word vectors {source}", "words", "gensim") from None
    made = _fasttext(path, str(source), limit) if found == "fasttext" else _word2vec(path, str(source), found, limit)
    return _checked(made, path)


def _word2vec(path: Path, name: str, form: Format, limit: int | None) -> WordVectors:
    from gensim.models import KeyedVectors

    binary, bare = form == "word2vec binary", form == "text without a first line"
    announced, more = check_binary(path, limit) if binary else check_text(path, bare, limit)
    notes: list[str] = []
    options = {"binary": binary, "no_header": bare, "limit": limit}
    with _reading(path):
        try:
            loaded = KeyedVectors.load_word2vec_format(str(path), **options)
        except UnicodeDecodeError:
            loaded = KeyedVectors.load_word2vec_format(str(path), **options, unicode_errors="replace")
            notes.append(_broken(path, name, loaded.index_to_key[: len(loaded.key_to_index)]))
    words = tuple(loaded.index_to_key[: len(loaded.key_to_index)])  # behind them are empty places of repeated words
    wanted = announced if limit is None else min(limit, announced)
    if len(words) < wanted:
        notes.append(f"{name}: {wanted - len(words):,} words stood there twice; the first vector of each was kept")
    if more and limit is None:
        notes.append(f"{name}: its first line announces {announced:,} words; {more} behind them were left")
    return WordVectors(name, words, np.asarray(loaded.vectors[: len(words)], np.float32), None, tuple(notes), form)


def _broken(path: Path, name: str, words: Sequence[str]) -> str:
    """The note on words that are not whole UTF-8; refuses a file in which they are many."""
    broken = sum("\ufffd" in word for word in words)
    if broken > _MOST_BROKEN * len(words) and broken > 1:
        raise SlonikError(
            f"{path}: {broken:,} of {len(words):,} words are not UTF-8: it is in another encoding, or its first line "
            "announces vectors of another size; convert or write it again"
        )
    return f"{name}: {broken:,} words that are not whole UTF-8 were read with marks (\ufffd) in them"


def _fasttext(path: Path, name: str, limit: int | None) -> WordVectors:
    from gensim.models.fasttext import load_facebook_vectors

    check_fasttext(path)
    with _reading(path):
        loaded = load_facebook_vectors(str(path))

    def made_of_parts(word: str) -> FloatArray | None:
        try:
            return np.asarray(loaded.get_vector(word), dtype=np.float32)
        except KeyError:
            return None  # shorter than every n-gram

    words = tuple(loaded.index_to_key)[:limit]
    return WordVectors(name, words, np.asarray(loaded.vectors, np.float32)[:limit], made_of_parts, (), "fasttext")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Says in a sentence what gensim finds wrong, and keeps its log to itself."""
    logger = logging.getLogger("gensim")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with np.errstate(over="ignore"):  # what is too great becomes infinite, and is refused as no number
            yield
    except UnicodeDecodeError:
        raise
    except EOFError:
        raise SlonikError(f"{path} ends before the words that it announces: it is cut short; fetch it again") from None
    except _WRONG as error:
        if isinstance(error, ValueError) and (place := no_number(path)):
            raise SlonikError(f"{path}, {place}: the file is damaged; fetch or write it again") from None
        raise SlonikError(f"{path} cannot be read as word vectors ({error}): fetch or write it again") from None
    finally:
        logger.setLevel(level)


def _navec(path: Path, name: str, limit: int | None) -> WordVectors:
    try:
        from navec import Navec
    except ModuleNotFoundError:
        raise MissingExtra(f"reading the word vectors {name}", "russian", "navec") from None
    try:
        loaded = Navec.load(str(path))
        pq = loaded.pq
        known = len(loaded.vocab.words) - 2  # without <unk> and <pad>, which stand last
        # They stand in the order of the alphabet; here as everywhere the most frequent come first.
        order = np.argsort(-np.asarray(loaded.vocab.counts[:known], np.int64), kind="stable")[:limit]
        rows = np.empty((len(order), int(pq.dim)), np.float32)
        for start in range(0, len(order), 20_000):
            indexes = pq.indexes[order[start : start + 20_000]]
            rows[start : start + len(indexes)] = pq.codes[np.arange(pq.qdim), indexes].reshape(len(indexes), -1)
    except (OSError, ValueError, KeyError, IndexError, AttributeError, struct.error, json.JSONDecodeError) as error:
        raise SlonikError(f"{path} is no navec file, or is damaged ({error}): fetch it again") from None
    return WordVectors(name, tuple(loaded.vocab.words[number] for number in order.tolist()), rows, None, (), "navec")


def _checked(vectors: WordVectors, path: Path) -> WordVectors:
    """Refuses what is no number."""
    if not len(vectors):
        raise SlonikError(f"{path} holds no words")
    wrong = ~np.isfinite(vectors.rows).all(axis=1)
    if wrong.any():
        first = vectors.words[int(wrong.argmax())]
        raise SlonikError(
            f"{path}: the vectors of {int(wrong.sum()):,} of {len(vectors):,} words hold what is no number (the first: "
            f"{first!r}): the file is damaged; fetch or write it again"
        )
    return vectors


def write_word_vectors(path: Path, words: Sequence[str], rows: NDArray[Any]) -> None:
    """Words and vectors as word2vec's text format, which everybody reads (`.vec`)."""
    with path.open("w", encoding="utf-8") as stream:
        stream.write(f"{len(words)} {rows.shape[1]}\n")
        for word, row in zip(words, rows, strict=True):
            stream.write(f"{word} {' '.join(f'{value:.6g}' for value in row)}\n")
