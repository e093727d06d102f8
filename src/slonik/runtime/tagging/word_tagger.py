"""From scores of words to spans, whatever gives the scores: texts of any length in bounded memory.

Texts are cut into segments, segments into windows; the scores of each segment's words are put together and read as one
chain. What runs the windows (torch, onnxruntime) is the subclass's, what an input looks like the features'.

Shapes: W words of a segment, L labels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slonik.core.errors import NotNumbers
from slonik.core.progress import progress_bar, warn_once
from slonik.core.protocols import FloatArray
from slonik.data.annotations.document import Span
from slonik.data.annotations.tags import OUTSIDE, Offsets, tokens_of
from slonik.runtime.tagging.borders import balanced
from slonik.runtime.tagging.calibration import Calibration, calibrated
from slonik.runtime.tagging.chain import Chain
from slonik.runtime.tagging.labels import PlainTags, TagLabels, one_label
from slonik.runtime.tagging.windows import Features, Window, segments
from slonik.text.tokenizing import check_texts

SEGMENT_CHARACTERS = 20_000
_GROUP_CHARACTERS = 200_000
_WORTH_A_BAR = 1_000_000  # characters


@dataclass(frozen=True)
class WordScores:
    """What a network says about a stretch of a text.

    Attributes:
        text: number of the text. shift: where the stretch begins in it.
        words: offsets into the stretch. values: (W, L) float32.
    """

    text: int
    shift: int
    words: list[Offsets]
    values: FloatArray


class WordTagger(ABC):
    """A network with its features and labels, as a `Tagger`.

    Args:
        name: what its records are filed under.
        labels: numbering of the network's outputs.
        features: makes its inputs.
        folder: where it was loaded from.

    Attributes:
        calibration: of its confidences; None = they are as the network gives them.
        balanced: its spans have both of their quotation marks and brackets, or neither (`borders.balanced`).
    """

    balanced = False

    def __init__(self, name: str, labels: TagLabels, features: Features, folder: Path | None) -> None:
        self.name = name
        self.bio = labels
        self.labels = labels.classes
        if isinstance(labels, PlainTags) and OUTSIDE not in labels.tags:
            warn_once(
                f"none of the tags of {name} ({', '.join(labels.names[:4])}, ...) says that a word is none, so that "
                "every word is in a span: if they have names, write these into id2label of its config.json (O, B-PER, "
                "I-PER, ...)"
            )
        self.features = features
        self.folder = folder
        self.calibration = Calibration.open(folder)

    @abstractmethod
    def reading(self) -> Chain:
        """The chain that scores are read with, as it is now."""

    @abstractmethod
    def scores(self, windows: Sequence[Window]) -> list[FloatArray]:
        """(stop - first, L) scores of the words that each window labels."""

    def tag(self, texts: Sequence[str]) -> list[list[Span]]:
        """Spans of each text; occurrences of a name in a stretch of 20,000 characters vote on its label (`one_label`).

        The probability of an occurrence is the smallest among its words'; a span's confidence is their mean. Tags of
        other people's taggers (`PlainTags`) are read as they are, without a vote.

        Raises:
            NoTexts: what was given is no list of texts.
            NotNumbers: the network's scores are none.
        """
        check_texts(texts)
        chain = self.reading()
        found: list[list[Span]] = [[] for _ in texts]
        for group in self._scored(texts):
            for scores in group:
                if isinstance(self.bio, PlainTags):
                    found[scores.text] += self._plain(scores, chain.marginals(scores.values))
                    continue
                spans = self.bio.decode(chain.decode(scores.values).tolist(), scores.words)
                if not spans:
                    continue
                votes = self._votes(spans, scores.words, chain.marginals(scores.values))
                moved = [Span(span.start + scores.shift, span.end + scores.shift, span.label) for span in spans]
                named = one_label(texts[scores.text], moved, votes)
                found[scores.text] += balanced(texts[scores.text], named) if self.balanced else named
        return calibrated(self.calibration, found)

    def predict(self, texts: Sequence[str]) -> list[list[Span]]:
        """What `tag` gives: every model with a head has this name for its answers."""
        return self.tag(texts)

    def marginals(self, texts: Sequence[str], own: Sequence[Sequence[Span]] | None = None) -> Iterator[WordScores]:
        """Probability of each label of each word; the stretches of all texts in order.

        Args:
            own: spans that each text gave to the list of names when it was made: the list is asked without them.
        """
        chain = self.reading()
        for group in self._scored(texts, own):
            for scores in group:
                yield WordScores(scores.text, scores.shift, scores.words, chain.marginals(scores.values))

    def _scored(self, texts: Sequence[str], own: Sequence[Sequence[Span]] | None = None) -> Iterator[list[WordScores]]:
        """Scores of every stretch of every text, some texts' worth at a time."""
        total = sum(len(text) for text in texts)
        waiting: list[tuple[int, int, str, list[Span] | None]] = []
        size = 0
        with progress_bar(f"tagging with {self.name}", total if total > _WORTH_A_BAR else None) as bar:
            for number, text in enumerate(texts):
                for start, end in segments(text, SEGMENT_CHARACTERS):
                    mine = _within(own[number], start, end) if own is not None else None
                    waiting.append((number, start, text[start:end], mine))
                    size += end - start
                    if size >= _GROUP_CHARACTERS:
                        yield self._stretches(waiting)
                        bar.advance(size)
                        waiting, size = [], 0
            if waiting:
                yield self._stretches(waiting)

    def _stretches(self, stretches: Sequence[tuple[int, int, str, list[Span] | None]]) -> list[WordScores]:
        self.features.forget()
        found: list[WordScores] = []
        windows: list[Window] = []
        owners: list[int] = []
        for place, (number, shift, text, given) in enumerate(stretches):
            words = self.features.split(text)
            found.append(WordScores(number, shift, words, np.zeros((len(words), len(self.bio)), np.float32)))
            made = self.features.windows(text, words, own=given)
            windows += made
            owners += [place] * len(made)
        for owner, window, values in zip(owners, windows, self.scores(windows) if windows else [], strict=True):
            if np.isnan(values).any():
                raise NotNumbers(f"text {found[owner].text + 1}")
            found[owner].values[window.first : window.stop] = values
        return found

    def _plain(self, scores: WordScores, probabilities: FloatArray) -> list[Span]:
        """Spans of the likeliest tag of each word."""
        tags = probabilities.argmax(-1)
        sure = probabilities.max(-1).tolist() if len(tags) else []
        spans = self.bio.decode(tags.tolist(), scores.words, sure)
        return [Span(one.start + scores.shift, one.end + scores.shift, one.label, one.confidence) for one in spans]

    def _votes(
        self, spans: Sequence[Span], words: Sequence[Offsets], probabilities: FloatArray
    ) -> list[dict[str, float]]:
        """Per span: class -> the smallest probability among its words, had it that class; (W, L) `probabilities`."""
        found, first = [], 0
        for span in spans:
            own = tokens_of(span, words, first)
            first = own.start
            begin, inside = probabilities[first, 1::2], probabilities[first + 1 : own.stop, 2::2]  # (C,), (words, C)
            least = np.minimum(begin, inside.min(0)) if len(inside) else begin
            found.append(dict(zip(self.labels, least.tolist(), strict=True)))
        return found


def _within(spans: Sequence[Span], start: int, end: int) -> list[Span]:
    """The spans of a stretch of a text, counted from its start."""
    return [
        Span(one.start - start, one.end - start, one.label) for one in spans if start <= one.start and one.end <= end
    ]
