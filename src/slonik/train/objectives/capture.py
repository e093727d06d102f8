"""Keep what chosen submodules put out during a forward pass, whatever the model's family.

Used for queries, keys and values, which no model returns. The modules are named by who knows the family; here they
are only listened to.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class Capture:
    """Listens to modules; after a forward pass `take()` gives their outputs in the order of the modules.

    Args:
        modules: submodules of one model that return a tensor each.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self._outputs: dict[int, Tensor] = {}
        self._count = len(modules)
        self._handles = [module.register_forward_hook(self._hook(index)) for index, module in enumerate(modules)]

    def _hook(self, index: int):  # type: ignore[no-untyped-def]
        def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            self._outputs[index] = output

        return keep

    def take(self) -> list[Tensor]:
        """Outputs of the last forward pass, forgotten afterwards.

        Raises:
            RuntimeError: a module was not run since the last call.
        """
        if len(self._outputs) != self._count:
            missing = sorted(set(range(self._count)) - set(self._outputs))
            raise RuntimeError(f"modules {missing} of the capture were not run in this forward pass")
        outputs = [self._outputs[index] for index in range(self._count)]
        self._outputs.clear()
        return outputs

    def remove(self) -> None:
        """Stop listening."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
