"""Vectors of words from wherever people keep them: navec, word2vec's text and binary files, fastText, our own folders.

Does: find out what a file is by its content, read it with gensim or navec, check that it is whole and that its numbers
are numbers, look words up however they are spelt. Does not: answer questions about words or train vectors
(`slonik.words`), nor read pickles: gensim's own .model and .kv files are refused.

Shapes: V words, D dimensions.
"""

from __future__ import annotations

import json
import logging
import pickle
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import MissingExtra, SlonikError
from slonik.core.hashing import sha256_bytes, sha256_json
from slonik.core.protocols import FloatArray
from slonik.data.natasha_package import NAVEC, natasha_file
from slonik.text.lines import open_bytes, read_json

NAVEC_NAME = "navec"
WORDS_FILE = "words.json"
"""Names the file of vectors in a folder of `slonik words train`, and how it was made."""
Format = Literal["word2vec", "word2vec binary", "text without a first line", "fasttext", "navec"]
FORMATS = "word2vec's text or binary format (.vec, .txt, .bin, also .gz), fastText's .bin, navec's .tar"

_FASTTEXT_MAGIC = struct.pack("<i", 793712314)
_PEEK = 1 << 20


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
    found = _format(path)
    if found == "navec":
        return _checked(_navec(path, str(source), limit), path)
    try:
        import gensim  # noqa: F401
    except ModuleNotFoundError:
        raise MissingExtra(f"reading the word vectors {source}", "words", "gensim") from None
    made = _fasttext(path, str(source), limit) if found == "fasttext" else _word2vec(path, str(source), found, limit)
    return _checked(made, path)


def _format(path: Path) -> Format:
    """What a file is, by its content; refuses pickles and archives."""
    try:
        with open_bytes(path) as stream:
            start = stream.read(_PEEK)
    except (OSError, EOFError) as error:
        raise SlonikError(f"cannot read {path} ({error}): fetch it again") from None
    if not start:
        raise SlonikError(f"{path} is empty: give a file of word vectors, {FORMATS}")
    if start.startswith(_FASTTEXT_MAGIC):
        return "fasttext"
    if start[:1] == pickle.PROTO:
        raise SlonikError(
            f"{path} is a pickle (gensim's own .model or .kv), which can run code and is not read: write it again with "
            "KeyedVectors.save_word2vec_format"
        )
    if start.startswith((b"PK\x03\x04", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf")):
        raise SlonikError(f"{path} is an archive: unpack it and give the file of vectors inside ({FORMATS})")
    if start[257:262] == b"ustar":
        return "navec"
    line, _, rest = start.partition(b"\n")
    fields = line.split()
    if len(fields) == 2 and all(part.isdigit() for part in fields):
        return "word2vec" if _numbers_of(rest.partition(b"\n")[0]) == int(fields[1]) else "word2vec binary"
    if _numbers_of(line) >= 2:
        return "text without a first line"
    raise SlonikError(
        f"{path} holds no word vectors that are known here: its first line is neither \"WORDS DIMENSIONS\" nor a word "
        f"with its numbers; give {FORMATS}"
    )  # fmt: skip


def _numbers_of(line: bytes) -> int:
    """How many numbers stand behind the word of a text line; 0 for what is no such line."""
    try:
        fields = line.decode("utf-8", errors="replace").split(" ")
        fields = fields[:-1] if fields[-1].strip() == "" else fields
        return len([float(part) for part in fields[1:]])
    except ValueError:
        return 0


def _word2vec(path: Path, name: str, form: Format, limit: int | None) -> WordVectors:
    from gensim.models import KeyedVectors

    binary, bare = form == "word2vec binary", form == "text without a first line"
    announced = None if bare else _check_length(path, binary)
    if not binary:
        _check_lines(path, announced, limit)
    notes: list[str] = []
    options = {"binary": binary, "no_header": bare, "limit": limit}
    with _reading(path):
        try:
            loaded = KeyedVectors.load_word2vec_format(str(path), **options)
        except UnicodeDecodeError:
            loaded = KeyedVectors.load_word2vec_format(str(path), **options, unicode_errors="replace")
            notes.append(f"{name}: words that are not whole UTF-8 were read with marks (\ufffd) in them")
    words = tuple(loaded.index_to_key[: len(loaded.key_to_index)])  # behind them are empty places of repeated words
    read = len(words)
    if announced is not None:
        wanted = announced if limit is None else min(limit, announced)
        if read < wanted:
            notes.append(f"{name}: {wanted - read:,} words stood there twice; the first vector of each was kept")
        if not binary and limit is None and (more := _lines(path) - 1 - announced) > 0:
            notes.append(f"{name}: its first line announces {announced:,} words; {more:,} lines behind them were left")
    return WordVectors(name, words, np.asarray(loaded.vectors[:read], np.float32), None, tuple(notes), form)


def _check_length(path: Path, binary: bool) -> int:
    """How many words the first line announces; refuses a file that is too short to hold them."""
    with open_bytes(path) as stream:
        words, size = (int(part) for part in stream.readline().split())
    least = words * ((4 * size if binary else 2 * size) + 1)
    if words == 0 or size == 0:
        raise SlonikError(f"{path} announces {words} words of {size} numbers in its first line: it holds nothing")
    if path.suffix != ".gz" and path.stat().st_size < least:
        raise SlonikError(
            f"{path} announces {words:,} words of {size} numbers in its first line, and its {path.stat().st_size:,} "
            "bytes cannot hold them: it is cut short; fetch or write it again"
        )
    return words


def _check_lines(path: Path, announced: int | None, limit: int | None) -> None:
    """Refuses a text line with other than the file's count of numbers: gensim would repeat a single one without a word.

    Args:
        announced: words that the first line announces; None where the first line is a word already.
    """
    with open_bytes(path) as stream:
        size = None if announced is None else int(stream.readline().split()[1])
        read = limit if announced is None else min(announced, limit or announced)
        for number, line in enumerate(islice(stream, read)):
            found = line.rstrip().count(b" ")
            size = found if size is None else size
            if line.strip() and found != size:
                where = number + (1 if announced is None else 2)
                raise SlonikError(
                    f"{path}, line {where}: {found} numbers, where the file's vectors have {size}: the file is "
                    "damaged; fetch or write it again"
                )


def _lines(path: Path) -> int:
    """Lines of a text file that are not blank at its end."""
    count, last = 0, b"\n"
    with open_bytes(path) as stream:
        while block := stream.read(1 << 22):
            count += block.count(b"\n")
            last = block
    return count + (0 if last.endswith(b"\n") else 1)


def _fasttext(path: Path, name: str, limit: int | None) -> WordVectors:
    from gensim.models.fasttext import load_facebook_vectors

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
        yield
    except UnicodeDecodeError:
        raise
    except EOFError:
        raise SlonikError(f"{path} ends before the words that it announces: it is cut short; fetch it again") from None
    except (ValueError, AssertionError, struct.error, KeyError, IndexError, OSError, NotImplementedError) as error:
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
