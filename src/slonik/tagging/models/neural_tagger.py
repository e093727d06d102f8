"""A neural tagger of any kind (BiLSTM, encoder; with or without CRF) in torch: the network that `WordTagger` reads.

Nothing here trains; what an input looks like is the features' business.

Shapes: W words of a window, L labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_json
from slonik.core.protocols import FloatArray, LongTexts
from slonik.models.heads.crf import LinearChainCrf
from slonik.models.task_model import TaskModel
from slonik.runtime.tagging.chain import Chain
from slonik.runtime.tagging.labels import TagLabels
from slonik.runtime.tagging.windows import Features, Window
from slonik.runtime.tagging.word_tagger import WordTagger
from slonik.text.batching import pad_arrays, token_budget_batches

_BATCH_TOKENS = 2048


class NeuralTagger(WordTagger):
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
        labels: TagLabels,
        model: nn.Module,
        features: Features,
        facts: Mapping[str, Any],
        folder: Path | None = None,
    ) -> None:
        super().__init__(name, labels, features, folder)
        self.model = model.eval()
        self.autocast: torch.dtype | None = None
        self._facts = dict(facts)
        chain = model.get_submodule("head.crf")
        assert isinstance(chain, LinearChainCrf)
        self.chain = chain

    def encode(
        self, texts: Sequence[str], *, prefix: str | None = None, long_texts: LongTexts | None = None
    ) -> FloatArray:
        """Sentence vectors (N, D) of the encoder under the head.

        Raises:
            SlonikError: there is no encoder under it.
        """
        if not isinstance(self.model, TaskModel):
            raise SlonikError(f"{self.name} tags words by word vectors: it has no vectors of texts")
        return self.model.encode(texts, prefix=prefix, long_texts=long_texts)

    def describe(self) -> dict[str, Any]:
        """Facts: kind, learned parameters, bytes on disk, labels, whether there is a CRF."""
        learned = sum(parameter.numel() for parameter in self.model.parameters())
        facts = {"name": self.name, "parameters": learned, "labels": list(self.labels), "crf": self.chain.trainable}
        if self.folder is not None:
            facts["bytes"] = sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
        return facts | self._facts

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.model.parameters()).device

    def identity(self) -> str:
        """sha256 of everything that decides spans and probabilities: network, inputs, labels, precision.

        In the network's are the weights and, of an encoder, config and tokenizer; in the inputs' word vectors and the
        list of names.
        """
        network: Any = self.model
        return sha256_json([network.identity(), self.features.identity(), self.bio.names, str(self.autocast)])

    def reading(self) -> Chain:
        """The transition scores as they are now: those of a model in training change."""
        return self.chain.chain()

    @torch.inference_mode()
    def scores(self, windows: Sequence[Window]) -> list[FloatArray]:
        """(W, L) emissions of each window, in batches of like length."""
        lengths = [len(window.fields["input_ids"]) for window in windows]
        mixed = torch.autocast(self.device.type, self.autocast or torch.bfloat16, enabled=self.autocast is not None)
        found: list[FloatArray] = [np.zeros((0, len(self.bio)), np.float32)] * len(windows)
        for batch in token_budget_batches(lengths, _BATCH_TOKENS):
            with mixed:
                scores = self.model(self._batch([windows[index] for index in batch]))
            emissions = scores.float().cpu().numpy()
            for row, index in enumerate(batch):
                found[index] = emissions[row, : windows[index].stop - windows[index].first]
        return found

    def _batch(self, windows: Sequence[Window]) -> dict[str, Tensor]:
        padded = {name: pad_arrays([window.fields[name] for window in windows]) for name in windows[0].fields}
        fields = {name: torch.from_numpy(array) for name, array in padded.items()}
        return {name: tensor.to(self.device) for name, tensor in self.features.add_forms(fields).items()}
