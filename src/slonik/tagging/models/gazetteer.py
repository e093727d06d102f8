"""Names seen in training texts, looked up in new ones: longest match over lower-case words.

Built from the training documents alone, and a training document is looked up in the names of the others: otherwise
each would find all of its own, and a tagger would learn to trust the list more than it deserves. Taggers make of it
what they can read: the CRF `features`, networks the counts (`name_list`).
"""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from slonik.core.errors import SlonikError
from slonik.data.annotations.document import Span
from slonik.data.annotations.tags import OUTSIDE, tokens_of

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
    def open(cls, folder: Path) -> Gazetteer:
        """The list in the folder of a tagger.

        Raises:
            SlonikError: the file is missing or damaged.
        """
        path = folder / NAMES_FILE
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
