"""What training texts called the names that stand in a text: evidence for a neural tagger, one row a word.

A small encoder has seen "Conficker" a few times and forgets it; a list does not. Built from the training documents
alone; a training document is looked up in the list without what it gave to it, so that the network learns to trust
the list as far as new texts let it. The CRF over hand features has its own form of this (`gazetteer`).

Shapes: W words of a text, L BIO labels.
"""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_bytes
from slonik.data.annotations.document import Document, Span
from slonik.data.annotations.overlaps import flatten
from slonik.data.annotations.words import Offsets, tokenize
from slonik.models.tagging.bio import BioLabels
from slonik.models.tagging.gazetteer import Key, names_of

NAMES_FILE = "names.json.gz"
_LONGEST = 8  # words of a name, as in `names_of`
_OUTSIDE = 0  # the column of texts that have the name and do not mark it


class NameList:
    """Names with the number of documents that gave each label to them, or none.

    Args:
        labels: of the tagger.
        counts: name (lower-case words) -> (1 + C,) documents in which it stands unmarked, and those that call it each
            of the C classes.
    """

    def __init__(self, labels: BioLabels, counts: Mapping[Key, Sequence[int]]) -> None:
        self.labels = labels
        self.counts = {key: np.array(numbers, dtype=np.int64) for key, numbers in counts.items()}
        self._first = {key[0] for key in self.counts}

    @classmethod
    def of(cls, labels: BioLabels, documents: Iterable[Document]) -> NameList:
        """The names that documents mark, and how often the same words stand unmarked."""
        read = [_read(document) for document in documents]
        place = {label: number for number, label in enumerate(labels.classes, 1)}
        counts: dict[Key, list[int]] = defaultdict(lambda: [0] * (1 + len(place)))
        for _, names in read:
            for key, label in names.items():
                counts[key][place[label]] += 1
        found = cls(labels, counts)
        for words, names in read:
            for key in found._unmarked(words, names):
                found.counts[key][_OUTSIDE] += 1
        return found

    def evidence(self, text: str, offsets: Sequence[Offsets], own: Sequence[Span] | None = None) -> NDArray[np.float32]:
        """(W, L) log(1 + documents) for each label of each word, by the longest name that it stands in; else zeros.

        Args:
            offsets: of the W words.
            own: spans of this very text, if the list was made with it: what it gave to the list is left out.
        """
        words = [text[start:end].lower() for start, end in offsets]
        found = np.zeros((len(words), len(self.labels)), dtype=np.float32)
        given = self._given(words, names_of(own, offsets, words)) if own is not None else {}
        for start, key in self._matches(words, given):
            left = np.log1p(self._left(key, given))
            found[start : start + len(key), _OUTSIDE] = left[_OUTSIDE]
            found[start, 1::2] = left[1:]
            found[start + 1 : start + len(key), 2::2] = left[1:]
        return found

    def _given(self, words: Sequence[str], names: Mapping[Key, str]) -> dict[Key, int]:
        """Name -> the column in which a text of these words, which marks `names`, was counted."""
        place = {label: number for number, label in enumerate(self.labels.classes, 1)}
        unmarked = dict.fromkeys(self._unmarked(words, names), _OUTSIDE)
        return unmarked | {key: place[label] for key, label in names.items()}

    def _unmarked(self, words: Sequence[str], names: Mapping[Key, str]) -> set[Key]:
        """Names of the list that stand in a text, those that it marks left out."""
        return {key for _, key in self._matches(words, {})} - names.keys()

    def _left(self, key: Key, given: Mapping[Key, int]) -> NDArray[np.int64]:
        """(1 + C,) the counts of a name without what the text that is looked up gave."""
        numbers = self.counts[key]
        if key in given:
            numbers = numbers.copy()
            numbers[given[key]] -= 1
        return numbers

    def _matches(self, words: Sequence[str], given: Mapping[Key, int]) -> Iterator[tuple[int, Key]]:
        """(first word, name) of the longest names in `words`, from left to right, without overlap."""
        index = 0
        while index < len(words):
            longest = min(_LONGEST, len(words) - index) if words[index] in self._first else 0
            for length in range(longest, 0, -1):
                key = tuple(words[index : index + length])
                if key in self.counts and self._left(key, given)[1:].any():
                    yield index, key
                    index += length - 1
                    break
            index += 1

    def dump(self) -> bytes:
        """The content of its file; equal lists give equal bytes."""
        rows = sorted([" ".join(key), numbers.tolist()] for key, numbers in self.counts.items())
        return gzip.compress(json.dumps(rows, ensure_ascii=False).encode("utf-8"), mtime=0)

    def content_hash(self) -> str:
        """Hash of names and counts."""
        return sha256_bytes(gzip.decompress(self.dump()))

    @classmethod
    def open(cls, folder: Path, labels: BioLabels) -> NameList:
        """The list in the folder of a tagger.

        Raises:
            SlonikError: the file is missing or damaged, or counts other labels.
        """
        path = folder / NAMES_FILE
        try:
            rows = json.loads(gzip.decompress(path.read_bytes()))
            counts = {tuple(words.split(" ")): numbers for words, numbers in rows}
            fits = all(len(numbers) == 1 + len(labels.classes) for numbers in counts.values())
        except (OSError, EOFError, ValueError, TypeError) as error:
            raise SlonikError(f"{path} is missing or damaged ({error}): copy the folder whole") from None
        if not fits:
            raise SlonikError(f"{path} does not count the labels of the tagger: copy the folder whole")
        return cls(labels, counts)


def _read(document: Document) -> tuple[list[str], dict[Key, str]]:
    """Lower-case words of a document, and the names that it marks."""
    offsets = tokenize(document.text)
    words = [document.text[start:end].lower() for start, end in offsets]
    return words, names_of(flatten(document.spans), offsets, words)
