"""A neural tagger of any kind (BiLSTM, encoder; with or without CRF): texts to spans, in bounded memory.

Texts are cut into segments, segments into windows, windows run in batches; the scores of each segment's words are put
together and read as one chain. Nothing here trains; what an input looks like is the features' business.

Shapes: W words of a segment, L labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from slonik.core.hashing import sha256_json
from slonik.core.progress import progress_bar
from slonik.data.annotations.document import Span
from slonik.data.annotations.tags import Offsets, tokens_of
from slonik.models.heads.crf import LinearChainCrf
from slonik.tagging.models.labels import BioLabels, one_label
from slonik.tagging.models.windows import Features, Window, segments
from slonik.text.batching import pad_arrays, token_budget_batches

SEGMENT_CHARACTERS = 20_000
_GROUP_CHARACTERS = 200_000
_BATCH_TOKENS = 2048
_WORTH_A_BAR = 1_000_000  # characters
_CHAIN_WORDS = 40_000


@dataclass(frozen=True)
class WordScores:
    """What the network says about a stretch of a text.

    Attributes:
        text: number of the text. shift: where the stretch begins in it.
        words: offsets into the stretch. values: (W, L) float32.
    """

    text: int
    shift: int
    words: list[Offsets]
    values: NDArray[np.float32]


class NeuralTagger:
    """A network with its features and labels, as a `Tagger`.

    Args:
        name: what its records are filed under.
        labels: numbering of the network's outputs.
        model: called with a batch, gives emissions (B, W, L); `model.head.crf` reads them, `model.identity()` names it.
        features: makes the batches.
        facts: for `describe`: `kind`, `bytes`, hashes.
        folder: where it was loaded from.

    Attributes:
        autocast: compute matrix products in this type while the weights stay as they are; None = off. bfloat16 halves
            an encoder's time on a processor that has it.
    """

    def __init__(
        self,
        name: str,
        labels: BioLabels,
        model: nn.Module,
        features: Features,
        facts: Mapping[str, Any],
        folder: Path | None = None,
    ) -> None:
        self.name = name
        self.bio = labels
        self.labels = labels.classes
        self.model = model.eval()
        self.features = features
        self.folder = folder
        self.autocast: torch.dtype | None = None
        self._facts = dict(facts)
        chain = model.get_submodule("head.crf")
        assert isinstance(chain, LinearChainCrf)
        self.chain = chain

    def tag(self, texts: Sequence[str]) -> list[list[Span]]:
        """Spans of each text; occurrences of a name in a stretch of 20,000 characters vote on its label (`one_label`).

        The probability of an occurrence is the smallest among its words'; a span's confidence is their mean.
        """
        found: list[list[Span]] = [[] for _ in texts]
        for group in self._scored(texts):
            for scores, values in zip(group, self._probabilities(group), strict=True):
                spans = self.bio.decode(self._best(scores.values).tolist(), scores.words)
                votes = self._votes(spans, scores.words, values)
                moved = [Span(span.start + scores.shift, span.end + scores.shift, span.label) for span in spans]
                found[scores.text] += one_label(texts[scores.text], moved, votes)
        return found

    def marginals(self, texts: Sequence[str]) -> Iterator[WordScores]:
        """Probability of each label of each word; the stretches of all texts in order."""
        for group in self._scored(texts):
            for scores, values in zip(group, self._probabilities(group), strict=True):
                yield WordScores(scores.text, scores.shift, scores.words, values)

    def describe(self) -> dict[str, Any]:
        """Facts: kind, learned parameters, bytes on disk, labels, whether there is a CRF."""
        learned = sum(parameter.numel() for parameter in self.model.parameters())
        facts = {"name": self.name, "parameters": learned, "labels": list(self.labels), "crf": self.chain.trainable}
        if self.folder is not None:
            facts["bytes"] = sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
        return facts | self._facts

    def identity(self) -> str:
        """sha256 of everything that decides spans and probabilities: network, inputs, labels, precision.

        In the network's are the weights and, of an encoder, config and tokenizer; in the inputs' word vectors and the
        list of names.
        """
        network: Any = self.model
        return sha256_json([network.identity(), self.features.identity(), self.bio.names, str(self.autocast)])

    def _scored(self, texts: Sequence[str]) -> Iterator[list[WordScores]]:
        """Emissions of every stretch of every text, some texts' worth at a time."""
        total = sum(len(text) for text in texts)
        waiting: list[tuple[int, int, str]] = []
        size = 0
        with progress_bar(f"tagging with {self.name}", total if total > _WORTH_A_BAR else None) as bar:
            for number, text in enumerate(texts):
                for start, end in segments(text, SEGMENT_CHARACTERS):
                    waiting.append((number, start, text[start:end]))
                    size += end - start
                    if size >= _GROUP_CHARACTERS:
                        yield self._emissions(waiting)
                        bar.advance(size)
                        waiting, size = [], 0
            if waiting:
                yield self._emissions(waiting)

    @torch.inference_mode()
    def _emissions(self, stretches: Sequence[tuple[int, int, str]]) -> list[WordScores]:
        self.features.forget()
        found: list[WordScores] = []
        windows: list[Window] = []
        owners: list[int] = []
        for place, (number, shift, text) in enumerate(stretches):
            words = self.features.split(text)
            found.append(WordScores(number, shift, words, np.zeros((len(words), len(self.bio)), np.float32)))
            own = self.features.windows(text, words)
            windows += own
            owners += [place] * len(own)
        lengths = [len(window.fields["input_ids"]) for window in windows]
        device = next(self.model.parameters()).device.type
        mixed = torch.autocast(device, self.autocast or torch.bfloat16, enabled=self.autocast is not None)
        for batch in token_budget_batches(lengths, _BATCH_TOKENS):
            with mixed:
                scores = self.model(self._batch([windows[index] for index in batch]))
            emissions = scores.float().cpu().numpy()
            for row, index in enumerate(batch):
                window = windows[index]
                found[owners[index]].values[window.first : window.stop] = emissions[row, : window.stop - window.first]
        return found

    def _batch(self, windows: Sequence[Window]) -> dict[str, Tensor]:
        padded = {name: pad_arrays([window.fields[name] for window in windows]) for name in windows[0].fields}
        fields = {name: torch.from_numpy(array) for name, array in padded.items()}
        device = next(self.model.parameters()).device
        return {name: tensor.to(device) for name, tensor in self.features.add_forms(fields).items()}

    def _votes(
        self, spans: Sequence[Span], words: Sequence[Offsets], probabilities: NDArray[np.float32]
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

    def _best(self, emissions: NDArray[np.float32]) -> NDArray[np.int64]:
        """(W,) the best label sequence that BIO allows."""
        tags: NDArray[np.int64] = emissions.argmax(-1).astype(np.int64)
        if len(tags) == 0 or (not self.chain.trainable and self._is_valid(tags)):
            return tags  # without transition scores the best label of every word is the best valid sequence
        return self.chain.decode(emissions)

    def _is_valid(self, tags: NDArray[np.int64]) -> bool:
        before = np.concatenate([[0], tags[:-1]])  # what may begin a text is what may follow O
        inside = (tags % 2 == 0) & (tags > 0)
        return bool(((before == tags) | (before == tags - 1))[inside].all())

    @torch.inference_mode()
    def _probabilities(self, group: Sequence[WordScores]) -> list[NDArray[np.float32]]:
        """(W, L) marginals of each stretch, several stretches in one pass of the chain."""
        found: list[NDArray[np.float32]] = [np.zeros(scores.values.shape, np.float32) for scores in group]
        for batch in token_budget_batches([len(scores.words) for scores in group], _CHAIN_WORDS):
            values = [group[index].values for index in batch]
            emissions = torch.from_numpy(pad_arrays(values))
            mask = torch.arange(emissions.shape[1]) < torch.tensor([len(rows) for rows in values])[:, None]
            marginals = self.chain.marginals(emissions, mask).numpy()
            for row, index in enumerate(batch):
                found[index] = marginals[row, : len(group[index].words)]
        return found
