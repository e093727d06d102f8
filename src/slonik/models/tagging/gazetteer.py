"""Names seen in training texts, looked up in new ones: longest match over lower-case words.

Built from the training documents alone, and a training document is looked up in the names of the others: otherwise
each would find all of its own, and the CRF would learn to trust the list more than it deserves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from slonik.data.annotations.document import Span
from slonik.data.annotations.tags import tokens_of

Key = tuple[str, ...]
_LONGEST = 8  # words of a name


class Gazetteer:
    """Names with the labels that documents gave to them.

    Args:
        counts: name (lower-case words) -> label -> number of documents with it.
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
        """For each word "" or what the list says: place in the match and the label, e.g. "B-ORG".

        Args:
            words: lower-case words of a text.
            own: the names that this very text gave to the list, to be left out.
        """
        found = [""] * len(words)
        index = 0
        while index < len(words):
            length, label = self._match(words, index, own or {})
            if length:
                found[index] = f"B-{label}"
                for place in range(index + 1, index + length):
                    found[place] = f"I-{label}"
            index += max(length, 1)
        return found

    def _match(self, words: Sequence[str], start: int, own: Mapping[Key, str]) -> tuple[int, str]:
        """(words of the longest name that begins at `start`, its commonest label); (0, "") for none."""
        for length in range(min(self._longest.get(words[start], 0), len(words) - start), 0, -1):
            key = tuple(words[start : start + length])
            labels = self.counts.get(key)
            if labels is None:
                continue
            mine = own.get(key)
            left = {label: count - (label == mine) for label, count in labels.items()}
            best = max(left, key=lambda label: (left[label], label))
            if left[best] > 0:
                return length, best
        return 0, ""


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
