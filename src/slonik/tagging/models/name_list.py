"""What training texts called the names that stand in a text: evidence for a neural tagger, one row a word.

A small encoder has seen "Conficker" a few times and forgets it; a list does not. It is the `Gazetteer` of the training
documents, with the documents that have a name and do not mark it counted too; a training document is looked up
without what it gave, so that the network learns to trust the list as far as new texts let it.

Shapes: W words of a text, L BIO labels.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_bytes
from slonik.data.annotations.document import Document, Span, flatten
from slonik.data.annotations.tags import OUTSIDE, Offsets, tokenize
from slonik.tagging.models.bio import BioLabels
from slonik.tagging.models.gazetteer import NAMES_FILE, Gazetteer, Key, names_of


class NameList:
    """A gazetteer in numbers.

    Args:
        labels: of the tagger.
        gazetteer: names with these classes, and "O" for documents that do not mark them.
    """

    def __init__(self, labels: BioLabels, gazetteer: Gazetteer) -> None:
        self.labels = labels
        self.gazetteer = gazetteer
        self._class = {name: number for number, name in enumerate(labels.classes)}

    @classmethod
    def of(cls, labels: BioLabels, documents: Iterable[Document]) -> NameList:
        """The names that documents mark, and how often the same words stand unmarked."""
        read = [_read(document) for document in documents]
        found = cls(labels, Gazetteer.of(names for _, names in read))
        unmarked = [found._unmarked(words, names) for words, names in read]
        for keys in unmarked:
            for key in keys:
                counts = found.gazetteer.counts[key]
                counts[OUTSIDE] = counts.get(OUTSIDE, 0) + 1
        return found

    def evidence(self, text: str, offsets: Sequence[Offsets], own: Sequence[Span] | None = None) -> NDArray[np.float32]:
        """(W, L) log(1 + documents) for each label of each word, by the longest name that it stands in; else zeros.

        Args:
            offsets: of the W words.
            own: spans of this very text, if the list was made with it: what it gave to the list is left out.
        """
        words = [text[start:end].lower() for start, end in offsets]
        found = np.zeros((len(words), len(self.labels)), dtype=np.float32)
        for start, key, documents in self.gazetteer.matches(words, self._given(words, offsets, own)):
            stop = start + len(key)
            for label, count in documents.items():
                value = np.log1p(count)
                if label == OUTSIDE:
                    found[start:stop, 0] = value
                else:
                    column = 2 * self._class[label] + 1
                    found[start, column] = found[start + 1 : stop, column + 1] = value
        return found

    def _given(self, words: Sequence[str], offsets: Sequence[Offsets], own: Sequence[Span] | None) -> dict[Key, str]:
        """Name -> the label under which a text with the spans `own` was counted."""
        if own is None:
            return {}
        names = names_of(own, offsets, words)
        return dict.fromkeys(self._unmarked(words, names), OUTSIDE) | names

    def _unmarked(self, words: Sequence[str], names: Mapping[Key, str]) -> set[Key]:
        """Names of the list that stand in a text, those that it marks left out."""
        return {key for _, key, _ in self.gazetteer.matches(words)} - names.keys()

    def dump(self) -> bytes:
        """The content of its file; equal lists give equal bytes."""
        return self.gazetteer.dump()

    def content_hash(self) -> str:
        """Hash of names and counts."""
        return sha256_bytes(gzip.decompress(self.dump()))

    @classmethod
    def open(cls, folder: Path, labels: BioLabels) -> NameList:
        """The list in the folder of a tagger.

        Raises:
            SlonikError: the file is missing or damaged, or counts other labels.
        """
        gazetteer = Gazetteer.open(folder)
        others = {label for counts in gazetteer.counts.values() for label in counts} - {OUTSIDE, *labels.classes}
        if others:
            raise SlonikError(
                f"{folder / NAMES_FILE} counts the label {min(others)!r}, which the tagger does not know: copy the "
                "folder whole"
            )
        return cls(labels, gazetteer)


def _read(document: Document) -> tuple[list[str], dict[Key, str]]:
    """Lower-case words of a document, and the names that it marks."""
    offsets = tokenize(document.text)
    words = [document.text[start:end].lower() for start, end in offsets]
    return words, names_of(flatten(document.spans), offsets, words)
