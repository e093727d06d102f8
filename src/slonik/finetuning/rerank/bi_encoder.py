"""A bi-encoder: a sentence encoder whose vectors of a query and of what answers it are brought together.

Its folder is that of any sentence encoder, with the pipeline and the prompts that it came with. The loss is InfoNCE
over the documents of the batch (van den Oord et al. 2018; Karpukhin et al. 2020, with hard negatives); other documents
that are relevant to a query too are left out of its sum.

Shapes: B queries of a batch, R documents of each, T tokens, D dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from slonik.core.passport import Passport
from slonik.data.rankings import Asked
from slonik.evaluation.retrieval.rankers import DOCUMENT_PROMPTS, QUERY_PROMPTS, prompt_of
from slonik.finetuning.rerank.examples import Examples
from slonik.finetuning.rerank.lists import Scores, by_vectors
from slonik.finetuning.rerank.negatives import Numbers
from slonik.models.encoder import TorchEncoder
from slonik.models.loading import save
from slonik.text.batching import pad_ids
from slonik.train.loaders import BatchLoader
from slonik.train.protocols import Batch, Loss, weighted_sum


class SentenceModule(nn.Module):
    """An encoder as a module of the training loop: its transformer, and whatever its pipeline has to train."""

    def __init__(self, encoder: TorchEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.transformer = encoder.model
        self.pipeline = encoder.pipeline

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(N, T), (N, T) -> unit vectors (N, D)."""
        return F.normalize(self.encoder.sentence_vectors(ids, mask).float(), dim=-1)


class BiEncoder:
    """A bi-encoder in training.

    Args:
        encoder: trained in place.
        documents: all of them, by number.
        max_length: tokens of a text in training; texts are encoded at the encoder's own length.

    Attributes:
        length: tokens of a text in training. tokenizer: raw.
    """

    def __init__(self, encoder: TorchEncoder, documents: Sequence[str], max_length: int) -> None:
        self.module: nn.Module = SentenceModule(encoder)
        self._encoder, self._documents, self.tokenizer = encoder, documents, encoder.tokenizer
        self.length = min(max_length, encoder.max_length)

    def loader(self, examples: Examples, *, max_texts: int, max_tokens: int | None, seed: int) -> BatchLoader:
        """Batches: `query_ids`, `query_mask` (B, T), `input_ids`, `attention_mask` (B, R, T), `allowed` (B, B * R)."""
        prompts = [prompt_of(self._encoder, names, None) for names in (QUERY_PROMPTS, DOCUMENT_PROMPTS)]

        def make(items: Sequence[tuple[Asked, Numbers]]) -> Batch:
            asked, asked_mask = self._padded([asked.text for asked, _ in items], prompts[0])
            numbers = np.stack([own for _, own in items])
            read, read_mask = self._padded([self._documents[number] for number in numbers.ravel().tolist()], prompts[1])
            shape = (*numbers.shape, read.shape[-1])
            return {
                "query_ids": asked, "query_mask": asked_mask, "input_ids": read.reshape(shape),
                "attention_mask": read_mask.reshape(shape),
                "allowed": torch.from_numpy(allowed([asked for asked, _ in items], numbers)),
            }  # fmt: skip

        sizes = examples.sizes(self._encoder.tokenizer, self._documents, self.length, together=False)
        return examples.loader(sizes, make, max_texts=max_texts, max_tokens=max_tokens, seed=seed)

    def scores(self, queries: Sequence[Asked], candidates: Sequence[Numbers]) -> Scores:
        """Cosines of every candidate."""
        return by_vectors(self._encoder, self._documents)(queries, candidates)

    def save(self, folder: Path, passport: Passport) -> None:
        save(self._encoder, folder, passport)

    def _padded(self, texts: Sequence[str], prefix: str | None) -> tuple[Tensor, Tensor]:
        rows = self._encoder.tokenize(texts, prefix, self.length)
        ids, mask = pad_ids(rows, self._encoder.pad_id)
        return torch.from_numpy(ids), torch.from_numpy(mask)


def allowed(queries: Sequence[Asked], numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which documents of a batch stand in which query's sum: its own relevant one, and all that are not relevant to it.

    Args:
        numbers: (B, R) documents, the relevant one first.

    Returns:
        (B, B * R).
    """
    flat, width = numbers.ravel().tolist(), numbers.shape[1]
    found = np.array([[asked.grades.get(number, 0.0) <= 0 for number in flat] for asked in queries])
    found[np.arange(len(queries)), np.arange(len(queries)) * width] = True
    return found


class BatchLoss:
    """-log of a query's share of similarity that its relevant document has among those of the batch.

    Args:
        temperature: by which cosines are divided.
    """

    def __init__(self, temperature: float) -> None:
        self._temperature = temperature

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """The batch is as `BiEncoder.loader` makes it."""
        queries: Tensor = model(batch["query_ids"], batch["query_mask"])
        documents: Tensor = model(batch["input_ids"].flatten(0, 1), batch["attention_mask"].flatten(0, 1))
        loss = self.of_vectors(queries, documents, batch["allowed"])
        return weighted_sum({"softmax": (1.0, loss)}, float(len(queries)))

    def of_vectors(self, queries: Tensor, documents: Tensor, allowed: Tensor) -> Tensor:
        """Unit vectors (B, D) and (B * R, D), the relevant one of query i at i * R; (B, B * R) -> ()."""
        with torch.autocast(queries.device.type, enabled=False):  # cosines of half precision tell hardly anything apart
            scores = (queries.float() @ documents.float().T) / self._temperature
        right = torch.arange(len(queries), device=queries.device) * (len(documents) // len(queries))
        return F.cross_entropy(scores.masked_fill(~allowed, float("-inf")), right)
