"""torch.compile layer by layer: the repeated blocks of a model, in place, so that any objective may call any part.

Compiling one block serves all its copies, which takes seconds instead of the minutes of a whole model; embeddings and
heads stay as they are. Names of parameters do not change.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


def repeated_blocks(model: nn.Module) -> list[nn.Module]:
    """The items of every list of two or more modules of one class: the layers of a transformer, outermost only."""
    found: list[nn.Module] = []
    inside: set[int] = set()
    for part in model.modules():
        if id(part) in inside or not isinstance(part, nn.ModuleList):
            continue
        if len(part) > 1 and len({type(item) for item in part}) == 1:
            found += list(part)
            inside |= {id(deeper) for item in part for deeper in item.modules()}
    return found


@contextmanager
def compiled_layers(model: nn.Module, *, on: bool) -> Iterator[None]:
    """Within the block the repeated blocks of `model` run compiled; afterwards as before."""
    blocks = repeated_blocks(model) if on else []
    for block in blocks:
        block.compile()
    try:
        yield
    finally:
        for block in blocks:
            block._compiled_call_impl = None
