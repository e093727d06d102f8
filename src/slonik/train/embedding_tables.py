"""How large embedding tables are trained: by the rows of the batch, as a whole, or not at all."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from slonik.train.train_config import TrainConfig

_LARGE_TABLE_ROWS = 4096


class EmbeddingTables:
    """The large tables of the trained modules, switched to the kind of gradient that the configuration asks for.

    Row-wise training goes with adamw and muon in one process; adafactor, lamb and several processes train every row.

    Args:
        modules: name -> module.
        config: `embeddings` and `optimizer`.
        world: number of processes.

    Attributes:
        by_rows: ids of the weights that have sparse gradients.
    """

    def __init__(self, modules: Mapping[str, nn.Module], config: TrainConfig, world: int = 1) -> None:
        tables = _large_tables(modules)
        self._as_found = [(table, table.sparse, table.weight.requires_grad) for table in tables]
        sparse = config.embeddings == "lazy" and config.optimizer in ("adamw", "muon") and world == 1
        for table in tables:
            if config.embeddings == "frozen":
                table.weight.requires_grad_(False)
            else:
                table.sparse = sparse
        self.by_rows = {id(table.weight) for table in tables} if sparse else set()

    def release(self) -> None:
        """Leave the tables as they were found: dense gradients for whoever uses the model next."""
        for table, sparse, trained in self._as_found:
            table.sparse = sparse
            table.weight.requires_grad_(trained)


def _large_tables(modules: Mapping[str, nn.Module]) -> list[nn.Embedding]:
    """Embedding tables that are worth treating apart: large, and not shared with another module (a tied head)."""
    uses: dict[int, int] = {}
    for module in modules.values():
        for part in module.modules():
            for parameter in part._parameters.values():
                if parameter is not None:
                    uses[id(parameter)] = uses.get(id(parameter), 0) + 1
    return [
        part
        for module in modules.values()
        for part in module.modules()
        if isinstance(part, nn.Embedding) and part.num_embeddings >= _LARGE_TABLE_ROWS and uses[id(part.weight)] == 1
    ]
