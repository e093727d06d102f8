"""Batches of sequences of a tokenised corpus, by tokens: packed rows without padding, or padded ones of near length.

For pre-training and adaptation. With `pack_to`, texts that meet in a row are new each epoch, rows are more than 99 %
full, and the objective keeps them apart; without it, near lengths share a batch. A batch holds about `batch_tokens`
tokens whatever the format, so formats with short sequences get more of them (RoBERTa, section 4.2).
"""

from __future__ import annotations

import numpy as np
import torch

from slonik.core.errors import SlonikError
from slonik.core.hashing import derive_seed, sha256_json
from slonik.data.sequence_formats import TokenSequences
from slonik.text.batching import pack_best_fit, token_budget_batches
from slonik.train.protocols import Batch, Corruption, IntArray

_POOL_ROWS = 1024


class SequenceLoader:
    """Batches of the sequences of a corpus.

    Args:
        sequences: the corpus in its format.
        objective: whose `corrupt` makes the batch of the ids.
        batch_tokens: tokens of a batch, padding included.
        pack_to: tokens of a packed row; must be the objective's own; None = padded rows.
        seed: of order and corruption.

    Raises:
        SlonikError: a sequence does not fit into a row or into a batch.
    """

    def __init__(
        self,
        sequences: TokenSequences,
        objective: Corruption,
        *,
        batch_tokens: int,
        pack_to: int | None = None,
        seed: int = 0,
    ) -> None:
        longest = pack_to or sequences.length
        if longest < sequences.length or batch_tokens < longest:
            raise SlonikError(
                f"sequences of {sequences.length} tokens do not fit into rows of {longest} in batches of "
                f"{batch_tokens} tokens: raise the batch's tokens or shorten the sequences"
            )
        self._sequences, self._objective, self._seed = sequences, objective, seed
        self._tokens, self._pack = batch_tokens, pack_to
        table = sequences.table(0)
        self.fingerprint = sha256_json(
            [sequences.corpus.key, sequences.form, sequences.length, repr(sequences.specials), len(table)]
            + [table[:100].tolist(), batch_tokens, pack_to, seed]
        )

    def plan(self, epoch: int) -> list[IntArray]:
        """Sequence numbers of every batch of an epoch, each once. A pure function of (seed, epoch)."""
        rng = np.random.default_rng(derive_seed(self._seed, "order", epoch))
        lengths = self._sequences.lengths(epoch)
        order = rng.permutation(len(lengths)).astype(np.int64)
        batches = self._packed(order, lengths) if self._pack else self._bucketed(order, lengths)
        return [batches[index] for index in rng.permutation(len(batches))]

    def _packed(self, order: IntArray, lengths: IntArray) -> list[IntArray]:
        assert self._pack is not None
        mean = max(1.0, float(lengths.mean()))
        pool = max(1, int(_POOL_ROWS * self._pack / mean))
        rows: list[IntArray] = []
        for start in range(0, len(order), pool):
            some = order[start : start + pool]
            rows += [some[row] for row in pack_best_fit(lengths[some], self._pack)]
        per_batch = self._tokens // self._pack
        # Rows of one text and rows of many come out in clusters: spread them over batches.
        mixed = [rows[index] for index in np.random.default_rng(len(rows)).permutation(len(rows))]
        return [np.concatenate(mixed[start : start + per_batch]) for start in range(0, len(mixed), per_batch)]

    def _bucketed(self, order: IntArray, lengths: IntArray) -> list[IntArray]:
        mean = max(1.0, float(lengths.mean()))
        pool = max(1, int(50 * self._tokens / mean))
        batches: list[IntArray] = []
        for start in range(0, len(order), pool):
            some = order[start : start + pool]
            batches += [some[part] for part in token_budget_batches(lengths[some], self._tokens, len(some))]
        return batches

    def batch(self, epoch: int, index: int, texts: IntArray) -> Batch:
        """The batch of sequences `texts`, with `next_sentence_label` (B,) where the format has pairs."""
        rng = np.random.default_rng(derive_seed(self._seed, "corrupt", epoch, index))
        made = self._objective.corrupt([self._sequences.row(epoch, int(text)) for text in texts], rng)
        if self._sequences.has_pairs:
            labels = [self._sequences.label(epoch, int(text)) for text in texts]
            made["next_sentence_label"] = torch.tensor(labels, dtype=torch.int64)
        return made
