"""What a model knows, and where in it.

`probing` asks every layer what it knows of a sentence (and builds the tasks from treebanks); `heads` how much every
attention head matters; `attention` what heads attend to, and which follow syntax; `similarity` whose layers are alike;
`neurons` which single neurons carry a property; `page` draws what was found.
"""

from __future__ import annotations

from typing import Any

from slonik.core.records import Record

SUITE = "inspection"


def inspection_record(model: str, task: str, variant: str, metric: str, value: float | None, **fields: Any) -> Record:
    """A record of this room; everything drawn here is drawn with seed 0."""
    return Record(suite=SUITE, task=task, variant=variant, model=model, metric=metric, value=value, seed=0, **fields)
