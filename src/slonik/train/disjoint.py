"""Before a run of several processes: they read the same corpus, and no two of them the same part of it.

The accident to rule out is FRED-T5's: every GPU read the same shard, and the model saw 3.5 GB two hundred times.
"""

from __future__ import annotations

import hashlib

import torch

from slonik.core.errors import SlonikError
from slonik.train.feed import Feed
from slonik.train.processes import Processes
from slonik.train.protocols import Batch, Loader

_TURNS = 4


def check_disjoint(processes: Processes, loader: Loader, epoch: int, index: int) -> None:
    """Compare the processes' hashes of the corpus (must agree) and of their next batches (must differ).

    Batches of different epochs may hold the same texts: a corpus smaller than a step is read again.

    Raises:
        SlonikError: the corpora differ, or two processes would train on the same batch.
    """
    if processes.world == 1:
        return
    fingerprints = processes.gather(loader.fingerprint)
    if len(set(fingerprints)) > 1:
        raise SlonikError(
            "the processes read different corpora: give every node the same files, so that each takes its own part "
            f"(fingerprints {', '.join(sorted({value[:12] for value in fingerprints}))})"
        )
    with Feed(loader, epoch, index, rank=processes.rank, world=processes.world, ahead=1) as feed:
        turns = [next(feed) for _ in range(_TURNS)]
    # By content and by the numbers of the texts: the same texts under other masks are the same texts.
    mine = [
        (place.epoch, place.index, found)
        for place, batch in turns
        for found in (batch_hash(batch), hashlib.sha256(place.texts.tobytes()).hexdigest())
    ]
    owners: dict[tuple[int, str], int] = {}
    for rank, read in enumerate(processes.gather(mine)):
        for at_epoch, at_index, found in read:
            other = owners.setdefault((at_epoch, found), rank)
            if other != rank:
                raise SlonikError(
                    f"processes {other} and {rank} would read the same batch (epoch {at_epoch}, batch {at_index} of "
                    f"process {rank}): each must read its own part of the corpus"
                )


def batch_hash(batch: Batch) -> str:
    """SHA-256 of the content of a batch."""
    digest = hashlib.sha256()
    for name in sorted(batch):
        tensor = batch[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
