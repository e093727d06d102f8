"""Names seen in training texts, looked up in new ones: longest match over lower-case words.

Built from the training documents alone, and a training document is looked up in the names of the others: otherwise
each would find all of its own, and a tagger would learn to trust the list more than it deserves. Taggers make of it
what they can read: the CRF the `features` of the `Gazetteer`, networks the numbers of the `NameList`.

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
from slonik.data.annotations.document import Document, Span, flatten
from slonik.data.annotations.tags import OUTSIDE, Offsets, tokenize, tokens_of
from slonik.runtime.tagging.labels import BioLabels

Key = tuple[str, ...]
NAMES_FILE = "names.json.gz"
_LONGEST = 8  # words of a name


class Gazetteer:
    """Names with the labels that documents gave to them.

    Args:
        counts: name (lower-case words) -> label -> number of documents with it; the label "O" stands for documents
            that have the words and do not mark them, where anyone counted these.
    """

    def __init__(self, counts: Mapping[Key, Mapping[str, int]]) -> None:
        self.counts = {key: dict(labels) for key, labels in counts.items()}
        self._longest: dict[str, int] = {}
        for key in self.counts:
            self._longest[key[0]] = max(len(key), self._longest.get(key[0], 0))

    @classmethod
    def of(cls, names: Iterable[Mapping[Key, str]]) -> Gazetteer:
        """The names of documents, each given as name -> label (see `names_of`)."""
        counts: dict[Key, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for document in names:
            for key, label in document.items():
                counts[key][label] += 1
        return cls(counts)

    def features(self, words: Sequence[str], own: Mapping[Key, str] | None = None) -> list[str]:
        """For each word "" or what the list says: place in the match and the commonest label, e.g. "B-ORG".

        Args:
            words: lower-case words of a text.
            own: the names that this very text gave to the list, to be left out.
        """
        found = [""] * len(words)
        for start, key, labels in self.matches(words, own):
            label = max(labels.keys() - {OUTSIDE}, key=lambda label: (labels[label], label))
            found[start : start + len(key)] = [f"B-{label}"] + [f"I-{label}"] * (len(key) - 1)
        return found

    def matches(
        self, words: Sequence[str], own: Mapping[Key, str] | None = None
    ) -> Iterator[tuple[int, Key, dict[str, int]]]:
        """(first word, name, its labels and their documents) of the longest names, from left to right, disjoint.

        Args:
            words: lower-case words of a text.
            own: what this very text gave to the list: a name that nothing else marks is none.
        """
        index = 0
        while index < len(words):
            for length in range(min(self._longest.get(words[index], 0), len(words) - index), 0, -1):
                key = tuple(words[index : index + length])
                labels = self._left(key, own or {})
                if labels.keys() - {OUTSIDE}:
                    yield index, key, labels
                    index += length - 1
                    break
            index += 1

    def _left(self, key: Key, own: Mapping[Key, str]) -> dict[str, int]:
        """Label -> documents, without what a text itself gave; labels with none are left out."""
        mine = own.get(key)
        left = {label: count - (label == mine) for label, count in self.counts.get(key, {}).items()}
        return {label: count for label, count in left.items() if count > 0}

    def dump(self) -> bytes:
        """The content of its file; equal lists give equal bytes."""
        rows = sorted([" ".join(key), dict(sorted(labels.items()))] for key, labels in self.counts.items())
        return gzip.compress(json.dumps(rows, ensure_ascii=False).encode("utf-8"), mtime=0)

    @classmethod
    def open(cls, folder: Path, name: str = NAMES_FILE) -> Gazetteer:
        """The list in the folder of a tagger, in the file `name`.

        Raises:
            SlonikError: the file is missing or damaged.
        """
        path = folder / name
        try:
            rows = json.loads(gzip.decompress(path.read_bytes()))
            return cls({tuple(words.split(" ")): labels for words, labels in rows})
        except (OSError, EOFError, ValueError, TypeError, AttributeError) as error:
            raise SlonikError(f"{path} is missing or damaged ({error}): copy the folder whole") from None


def names_of(spans: Iterable[Span], offsets: Sequence[tuple[int, int]], words: Sequence[str]) -> dict[Key, str]:
    """Name -> label of a document's spans; names of one letter, and of more than eight words, are left out."""
    names: dict[Key, str] = {}
    covered = range(0)
    for span in spans:
        covered = tokens_of(span, offsets, covered.start)
        key = tuple(words[covered.start : covered.stop])
        if key and len(key) <= _LONGEST and len("".join(key)) > 1:
            names.setdefault(key, span.label)
    return names


class NameList:
    """A gazetteer in numbers, one row a word: a small network has seen "Conficker" a few times and forgets it.

    Documents that have a name and do not mark it are counted too, so that the network learns to trust the list as far
    as new texts let it.

    Args:
        labels: of the tagger.
        gazetteer: names with these classes, and "O" for documents that do not mark them.
    """

    def __init__(self, labels: BioLabels, gazetteer: Gazetteer) -> None:
        self.labels = labels
        self.gazetteer = gazetteer
        self._class = {name: number for number, name in enumerate(labels.classes)}

    @classmethod
    def of(cls, labels: BioLabels, documents: Iterable[Document], lists: Iterable[Mapping[Key, str]] = ()) -> NameList:
        """The names that documents mark, and how often the same words stand unmarked.

        Args:
            lists: names from outside: each list counts as one more document that marks them.
        """
        documents = list(documents)
        read = [_read(document) for document in documents]
        found = cls(labels, Gazetteer.of([*(names for _, names in read), *lists]))
        # what stands unmarked where nobody has annotated says nothing
        unmarked = [
            set() if document.unknown else found._unmarked(words, names)
            for document, (words, names) in zip(documents, read, strict=True)
        ]
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
