"""Texts to the inputs of a word-level tagger: rows of the word table, numbers of trainable words, and characters.

Every distinct word form is looked up once and kept in a lexicon; a batch carries its distinct forms and, per word,
which of them it is. The table of word vectors is read from the package natasha when a tagger is made, and saved with
the tagger, which then needs that package no more. Nothing here is trained.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor

from slonik.core import files
from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_bytes, sha256_json
from slonik.core.progress import warn_once
from slonik.data.annotations.document import Span
from slonik.data.annotations.tags import Offsets, tokenize
from slonik.models.baselines import navec_path
from slonik.models.word_vectors import NAVEC_NAME, read_word_vectors
from slonik.runtime.tagging.names import NameList
from slonik.runtime.tagging.windows import Window, shares
from slonik.text.batching import pad_arrays

VECTORS_FILE = "words.safetensors"
WORDS_FILE = "words.txt"
LONGEST_WORD = 24
_TAIL = 8  # letters kept from the end of a longer word
_UNKNOWN = 1  # of characters and of trainable words; 0 pads
_LARGEST_LEXICON = 300_000


class WordTable:
    """V words with vectors of Q parts, each part one of K codes of S numbers; D = Q S.

    Product-quantised (Jegou, Douze, Schmid 2011): 250,000 navec words in 25 MB, unpacked row by row as needed. Vectors
    as they are have one part, and a code for every word.

    Args:
        words: V words in lower case.
        codes: (Q, K, S) float32.
        indexes: (V, Q) whole numbers, the code of each part.
    """

    def __init__(self, words: Sequence[str], codes: NDArray[np.float32], indexes: NDArray[np.integer]) -> None:
        self.words = tuple(words)
        self.numbers = {word: number for number, word in enumerate(self.words)}
        self.dimension = codes.shape[0] * codes.shape[2]
        # Row V is the zero vector of unknown words: one more code, all zero, in every part.
        zero = np.zeros((codes.shape[0], 1, codes.shape[2]), np.float32)
        self._codes = torch.from_numpy(np.concatenate([codes, zero], 1))
        self._indexes = torch.from_numpy(np.array(indexes))  # a copy: what was read from a file may not be writable
        self._parts = torch.arange(codes.shape[0])

    @property
    def unknown(self) -> int:
        """The number of words without a vector."""
        return len(self.words)

    def number(self, word: str) -> int:
        """The row of `word` in lower case, also spelt with е for ё; `unknown` without one."""
        lower = word.lower()
        found = self.numbers.get(lower)
        return self.numbers.get(lower.replace("ё", "е"), self.unknown) if found is None else found

    def vectors(self, numbers: Tensor) -> Tensor:
        """(U,) rows -> (U, D) float32; zeros for `unknown`."""
        known = numbers < self.unknown
        chosen = self._indexes[torch.where(known, numbers, 0)].long()
        chosen = torch.where(known[:, None], chosen, self._codes.shape[1] - 1)
        return self._codes[self._parts, chosen].flatten(1)

    def content_hash(self) -> str:
        parts = [self._codes[:, :-1].numpy().tobytes(), self._indexes.numpy().tobytes(), "\n".join(self.words).encode()]
        return sha256_json([sha256_bytes(part) for part in parts])

    def save(self, folder: Path) -> None:
        """Write the table into `folder`: `words.safetensors` and `words.txt`."""
        codes = np.ascontiguousarray(self._codes[:, :-1].numpy())
        save_file({"codes": codes, "indexes": self._indexes.numpy()}, str(folder / VECTORS_FILE))
        files.write_text(folder / WORDS_FILE, "".join(f"{word}\n" for word in self.words))

    @classmethod
    def open(cls, folder: Path) -> WordTable:
        """The table that `save` wrote.

        Raises:
            SlonikError: files are missing or damaged.
        """
        try:
            tensors = load_file(str(folder / VECTORS_FILE))
            words = (folder / WORDS_FILE).read_text(encoding="utf-8").split("\n")[:-1]
            table = cls(words, tensors["codes"], tensors["indexes"])
        except (OSError, SafetensorError, KeyError, UnicodeDecodeError) as error:
            raise SlonikError(f"the word vectors in {folder} are missing or damaged ({error}): copy it again") from None
        if len(words) != len(tensors["indexes"]):
            raise SlonikError(f"{folder / WORDS_FILE} has {len(words)} words for {len(tensors['indexes'])} vectors")
        return table


@functools.cache
def navec_table() -> WordTable:
    """The navec vectors that natasha carries (news, 250,000 words, 300 dimensions; MIT), kept once read.

    Raises:
        MissingExtra: natasha is not installed.
    """
    path = navec_path()
    from navec import Navec

    loaded = Navec.load(path)
    known = len(loaded.vocab.words) - 2  # without <unk> and <pad>, which stand last
    return WordTable(loaded.vocab.words[:known], loaded.pq.codes, loaded.pq.indexes[:known])


def word_table(vectors: str | Path) -> WordTable:
    """Word vectors of a file or a folder of `slonik words train`, as they are; the last ones read are kept.

    Words are those in lower case; of several spellings the first, which is the most frequent, counts. Vectors of
    n-grams (fastText) stay behind: an unknown word has the zero vector, as with navec.

    Raises:
        SlonikError, MissingExtra: as `slonik.models.word_vectors.read_word_vectors`.
    """
    if str(vectors) == NAVEC_NAME:
        return navec_table()
    path = Path(vectors)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    seen = tuple((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file())
    return _read_table(str(vectors), seen)


@functools.lru_cache(maxsize=1)
def _read_table(vectors: str, _seen: tuple[tuple[str, int, int], ...]) -> WordTable:
    read = read_word_vectors(vectors)
    for note in read.notes:
        warn_once(note)
    first: dict[str, int] = {}
    for number, word in enumerate(read.words):
        first.setdefault(word.lower(), number)
    rows = read.rows[np.fromiter(first.values(), np.int64, len(first))]
    return WordTable(tuple(first), rows[None], np.arange(len(first), dtype=np.int32)[:, None])


class WordFeatures:
    """Looks words up; the part of a BiLSTM tagger that is not a network.

    Args:
        table: fixed word vectors.
        words: words in lower case with a trainable vector each; number 2 on, in this order.
        characters: known characters; number 2 on.
        window: words of one input.
        overlap: words that neighbouring inputs share.
        names: what training texts called the names of a text; None = not asked.
    """

    def __init__(
        self,
        table: WordTable,
        words: Sequence[str],
        characters: str,
        *,
        window: int = 64,
        overlap: int = 16,
        names: NameList | None = None,
    ) -> None:
        self.table = table
        self.names = names
        self.words, self.characters = tuple(words), characters
        self.window, self.overlap = window, overlap
        self._word_numbers = {word: number for number, word in enumerate(words, _UNKNOWN + 1)}
        self._character_numbers = {sign: number for number, sign in enumerate(characters, _UNKNOWN + 1)}
        self._forms: dict[str, int] = {}
        self._rows: list[tuple[int, int, list[int]]] = []
        self._pinned = 0

    @property
    def alphabet(self) -> int:
        """How many character numbers there are."""
        return len(self.characters) + _UNKNOWN + 1

    @property
    def trainable(self) -> int:
        """How many numbers of trainable words there are."""
        return len(self.words) + _UNKNOWN + 1

    def identity(self) -> str:
        """sha256 of everything that decides the inputs of a text."""
        lists = [self.words, self.characters, self.names.content_hash() if self.names is not None else None]
        return sha256_json([self.table.content_hash(), *lists, self.window, self.overlap])

    def split(self, text: str) -> list[Offsets]:
        return tokenize(text)

    def windows(
        self, text: str, words: Sequence[Offsets], overlap: int | None = None, own: Sequence[Span] | None = None
    ) -> list[Window]:
        """As `Features.windows`; a token is a word."""
        evidence = self.names.evidence(text, words, own) if self.names is not None else None
        forms = np.array([self._form(text[start:end]) for start, end in words], dtype=np.int32)
        found = []
        for share in shares(len(words), self.window, self.overlap if overlap is None else overlap):
            if share.own_end == share.own_start:
                continue
            owned = share.own_end - share.own_start
            fields: dict[str, NDArray[Any]] = {
                "input_ids": forms[share.start : share.end],
                "attention_mask": np.ones(share.end - share.start, dtype=np.int8),
                "positions": np.arange(owned, dtype=np.int32) + np.int32(share.own_start - share.start),
                "word_mask": np.ones(owned, dtype=np.bool_),
            }
            if evidence is not None:
                fields["names"] = evidence[share.start : share.end]
            found.append(Window(share.own_start, share.own_end, fields))
        return found

    def add_forms(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A padded batch with its distinct forms: `input_ids` become numbers of `form_...` rows.

        Adds `form_table` (U,), `form_word` (U,) and `form_characters` (U, C).
        """
        distinct, places = np.unique(batch["input_ids"].numpy(), return_inverse=True)
        rows = [self._rows[number] for number in distinct] or [(self.table.unknown, _UNKNOWN, [_UNKNOWN])]
        return {
            **batch,
            "input_ids": torch.from_numpy(places.reshape(batch["input_ids"].shape).astype(np.int64)),
            "form_table": torch.tensor([row[0] for row in rows]),
            "form_word": torch.tensor([row[1] for row in rows]),
            "form_characters": torch.from_numpy(pad_arrays([row[2] for row in rows], dtype=np.int64)),
        }

    def pin(self) -> None:
        """Keep the forms seen so far for good: training examples name them by number."""
        self._pinned = len(self._rows)

    def forget(self) -> None:
        """Empty a lexicon that has grown large, but for pinned forms; windows made since pinning are void."""
        if len(self._rows) - self._pinned > _LARGEST_LEXICON:
            self._forms = {word: number for word, number in self._forms.items() if number < self._pinned}
            del self._rows[self._pinned :]

    def _form(self, word: str) -> int:
        number = self._forms.get(word)
        if number is None:
            number = self._forms[word] = len(self._rows)
            kept = word if len(word) <= LONGEST_WORD else word[: LONGEST_WORD - _TAIL] + word[-_TAIL:]
            signs = [self._character_numbers.get(sign, _UNKNOWN) for sign in kept]
            self._rows.append((self.table.number(word), self._word_numbers.get(word.lower(), _UNKNOWN), signs))
        return number


def frequent_words(texts: Iterable[str], at_least: int) -> list[str]:
    """Words in lower case seen `at_least` times, the most frequent first."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text[start:end].lower() for start, end in tokenize(text))
    return sorted((word for word, count in counts.items() if count >= at_least), key=lambda word: (-counts[word], word))


def frequent_characters(texts: Iterable[str], at_least: int = 5) -> str:
    """Characters seen `at_least` times, white space left out, sorted."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    return "".join(sorted(sign for sign, count in counts.items() if count >= at_least and not sign.isspace()))
