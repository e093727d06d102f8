"""Batches for a mixture of denoisers: each piece of the corpus is as long as its own denoiser takes, rows are full.

The denoisers of an epoch are drawn before its batches are cut, for an input of 512 tokens is made of 568 or of 1,007
tokens of text, and answered by 92 or by 513. Pieces of like shape share a batch, and where the model takes packed rows
several short ones share a row. Which denoiser reads what is new each epoch and depends on (seed, epoch). What a
denoiser does to its piece is in `denoising`. N pieces of an epoch, K denoisers.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.hashing import derive_seed, sha256_json
from slonik.pretraining.denoising import Denoiser, DenoiserMixture, denoising_batch
from slonik.pretraining.packed import pack_pairs
from slonik.pretraining.sequences import Format, TokenSequences
from slonik.pretraining.shards import IntArray, TokenCorpus
from slonik.text.batching import pack_best_fit
from slonik.train.loaders import BatchLoader, pools
from slonik.train.objectives.asked import with_places
from slonik.train.objectives.masking import IGNORED
from slonik.train.protocols import Batch

_POOL_ROWS = 1024
_POOL_BATCHES = 16
_CHUNK_ROWS = 256
"""Rows that are filled from pieces of like shape: enough of them for the short ones to find room."""


@dataclass(frozen=True)
class Pieces:
    """The pieces of an epoch.

    Attributes:
        first, last: (N,) ranges of tokens of the corpus.
        kind: (N,) the denoiser of each.
        inputs, targets: (N,) tokens that the encoder reads and the decoder writes, specials included.
    """

    first: IntArray
    last: IntArray
    kind: IntArray
    inputs: IntArray
    targets: IntArray

    def __len__(self) -> int:
        return len(self.first)


class DenoisingPieces:
    """A corpus cut for a mixture of denoisers.

    Args:
        corpus: the tokens.
        form: `documents`: no piece crosses a document's end; `blocks`: all documents one after another;
            `full_sentences` and `doc_sentences`: pieces of sequences of that format.
        mixture: the denoisers.
        seed: of the draws.

    Raises:
        SlonikError: no two tokens in a row.
    """

    def __init__(self, corpus: TokenCorpus, form: Format, mixture: DenoiserMixture, *, seed: int = 0) -> None:
        self.corpus, self.form, self.mixture, self._seed = corpus, form, mixture, seed
        if form == "documents":
            starts = corpus.document_starts
            runs = np.stack([starts[:-1], starts[1:]], axis=1)
        elif form == "blocks":
            runs = np.array([[0, corpus.token_count]], dtype=np.int64)
        else:
            runs = TokenSequences(corpus, form, mixture.text_length).table(0)[:, :2]
        self._runs = runs[runs[:, 1] - runs[:, 0] >= 2]
        if not len(self._runs):
            raise SlonikError(
                f"the corpus of {corpus.token_count:,} tokens has no text of two tokens or more, which denoising needs"
            )
        self._sizes = [_sizes(each, length) for each, length in zip(mixture.denoisers, mixture.lengths, strict=True)]
        self._epochs: dict[int, Pieces] = {}

    def pieces(self, epoch: int) -> Pieces:
        """Those of an epoch; a pure function of (seed, epoch)."""
        if epoch not in self._epochs:
            # The last epoch stays: its batches may still be in preparation when the next one is planned.
            self._epochs = {old: found for old, found in self._epochs.items() if old == epoch - 1}
            self._epochs[epoch] = self._cut(np.random.default_rng(derive_seed(self._seed, "denoisers", epoch)))
        return self._epochs[epoch]

    def _cut(self, rng: np.random.Generator) -> Pieces:
        lengths = np.asarray(self.mixture.lengths, dtype=np.int64)
        sizes = self._runs[:, 1] - self._runs[:, 0]
        short = sizes <= lengths[self.mixture.shares > 0].min()
        kinds = rng.choice(len(lengths), size=int(short.sum()), p=self.mixture.shares)
        tables = [np.column_stack([self._runs[short], kinds])]
        tables += [self._parted(first, last, lengths, rng) for first, last in self._runs[~short].tolist()]
        table = np.concatenate(tables).astype(np.int64)
        found = np.empty((len(table), 2), dtype=np.int64)
        for kind, known in enumerate(self._sizes):
            of_kind = table[:, 2] == kind
            found[of_kind] = known[table[of_kind, 1] - table[of_kind, 0]]
        return Pieces(table[:, 0], table[:, 1], table[:, 2], found[:, 0], found[:, 1])

    def _parted(self, first: int, last: int, lengths: IntArray, rng: np.random.Generator) -> IntArray:
        """(n, 3) a long run cut into pieces, each as long as its denoiser takes, the last one shorter."""
        total = last - first
        mean = float(self.mixture.shares @ lengths)
        cuts, kinds = [0], np.zeros(0, dtype=np.int64)
        while cuts[-1] < total:
            drawn = rng.choice(len(lengths), size=int((total - cuts[-1]) / mean) + 8, p=self.mixture.shares)
            kinds = np.concatenate([kinds, drawn])
            cuts += (cuts[-1] + np.cumsum(lengths[drawn])).tolist()
        ends = np.asarray(cuts[1:], dtype=np.int64)
        count = int(np.searchsorted(ends, total, "left")) + 1
        ends = np.minimum(ends[:count], total)
        if count > 1 and ends[-1] - ends[-2] < 2:  # one token alone gives nothing to keep: it takes another along
            ends[-2] -= 1
        starts = np.concatenate([[0], ends[:-1]])
        return np.column_stack([first + starts, first + ends, kinds[:count]])


def _sizes(denoiser: Denoiser, longest: int) -> IntArray:
    """(longest + 1, 2) tokens of input and target of a text of each length from 2 on."""
    front = denoiser.prefix is not None
    rows = [(0, 0), (0, 0), *(denoiser.noise.sizes(length) for length in range(2, longest + 1))]
    return np.asarray(rows, dtype=np.int64) + np.array([int(front), 0])


def denoising_loader(
    pieces: DenoisingPieces, *, batch_tokens: int, input_length: int, pack: bool, seed: int = 0
) -> BatchLoader:
    """Batches of about `batch_tokens` tokens of text, in rows of inputs of at most `input_length` tokens.

    Args:
        pack: several pieces in a row that do not see one another; without, a piece a row.
        seed: of order and corruption.
    """
    mixture = pieces.mixture

    def cut(epoch: int, rng: np.random.Generator) -> list[IntArray]:
        found = pieces.pieces(epoch)
        rows_of_batch = max(1, batch_tokens // mixture.text_length)
        rows = max(_POOL_ROWS, _POOL_BATCHES * rows_of_batch)
        pool = max(1, int(rows * input_length / float(found.inputs.mean()))) if pack else rows
        return [
            batch
            for some in pools(len(found), pool, rng)
            for batch in _batches(found, some, _rows(found, some, input_length, pack), batch_tokens)
        ]

    def make(epoch: int, numbers: IntArray, rng: np.random.Generator) -> Batch:
        found = pieces.pieces(epoch)
        pairs = [
            mixture.example(pieces.corpus.tokens(int(first), int(last)), int(kind), rng)
            for first, last, kind in zip(found.first[numbers], found.last[numbers], found.kind[numbers], strict=True)
        ]
        if pack:
            return with_places(pack_pairs(pairs, input_length, mixture.facts.pad, IGNORED))
        return denoising_batch(pairs, mixture.facts.pad) | {"denoiser": torch.from_numpy(found.kind[numbers])}

    first = pieces.pieces(0)
    facts = [pieces.corpus.key, pieces.form, input_length, repr(mixture.denoisers), len(first)]
    facts += [np.stack([first.first[:100], first.last[:100], first.kind[:100]]).tolist(), batch_tokens, pack, seed]
    return BatchLoader(cut, make, seed=seed, fingerprint=sha256_json(facts))


def _rows(found: Pieces, some: IntArray, length: int, pack: bool) -> list[IntArray]:
    """Pieces of a pool as rows: those whose targets have a like share of their inputs together."""
    if not pack:
        return [some[place : place + 1] for place in range(len(some))]
    some = some[np.argsort(found.targets[some] / found.inputs[some], kind="stable")]
    read = np.cumsum(found.inputs[some])
    borders = np.searchsorted(read, np.arange(1, int(read[-1]) // (_CHUNK_ROWS * length) + 1) * _CHUNK_ROWS * length)
    chunks = itertools.pairwise(np.unique([0, *borders.tolist(), len(some)]).tolist())
    return [
        some[start:end][row] for start, end in chunks for row in pack_best_fit(found.inputs[some[start:end]], length)
    ]


def _batches(found: Pieces, some: IntArray, rows: list[IntArray], batch_tokens: int) -> list[IntArray]:
    """Rows of a pool as batches: like widths together, about `batch_tokens` tokens of text in each."""
    if not rows:
        return []
    shapes = np.array([[found.targets[row].sum(), found.inputs[row].sum()] for row in rows])
    order = np.lexsort((shapes[:, 1], shapes[:, 0]))
    texts: NDArray[np.int64] = np.array([(found.last[row] - found.first[row]).sum() for row in rows])[order]
    read = np.cumsum(texts)
    count = max(1, round(int(read[-1]) / batch_tokens))
    borders = np.searchsorted(read - texts / 2, np.arange(1, count) * (int(read[-1]) / count))
    steps = np.diff(shapes[order, 0], prepend=shapes[order[0], 0])
    slack = len(rows) // (4 * count)  # a border moves by a quarter of a batch to where the widths jump
    moved = [_widest(steps, max(1, border - slack), min(len(rows) - 1, border + slack)) for border in borders.tolist()]
    bounds = np.unique([0, *moved, len(rows)]).tolist()
    return [np.concatenate([rows[place] for place in order[start:end]]) for start, end in itertools.pairwise(bounds)]


def _widest(steps: IntArray, first: int, last: int) -> int:
    """The place of the largest step among first .. last."""
    return first + int(np.argmax(steps[first : last + 1])) if last >= first else first
