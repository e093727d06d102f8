"""What a model knows, and where in it.

`probing` asks every layer what it knows of a sentence (and builds the tasks from treebanks); `heads` how much every
attention head matters; `attention` what heads attend to; `syntax` which follow syntax; `similarity` whose layers are
alike; `neurons` which single neurons carry a property; `page` draws what was found.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from slonik.core.hashing import sha256_texts
from slonik.core.records import Record

SUITE = "inspection"


def inspection_record(model: str, task: str, variant: str, metric: str, value: float | None, **fields: Any) -> Record:
    """A record of this room; everything drawn here is drawn with seed 0."""
    return Record(suite=SUITE, task=task, variant=variant, model=model, metric=metric, value=value, seed=0, **fields)


class _Weighted(Protocol):
    def weights_hash(self) -> str: ...


def source_hashes(model: _Weighted, texts: Sequence[str]) -> dict[str, str]:
    """Hashes for records: of the weights in use and of the texts that were looked at, in their order."""
    return {"weights": model.weights_hash(), "texts": sha256_texts(texts)}
