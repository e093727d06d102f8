"""The teacher at token level, run beside the student: hidden states and queries, keys, values of the same tokens.

Sentence vectors are cached on disk; token states are some hundred times larger, so the terms that need them run the
teacher without gradient. The teacher reads the *student's* segmentation: after a vocabulary trim every student piece
is a teacher piece, so ids are mapped one to one and positions agree even where the teacher would have cut otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from slonik.train.objectives.capture import Capture


@dataclass(frozen=True)
class TokenTargets:
    """What the teacher says about each token of a batch.

    Attributes:
        hidden: layer number -> (B, T, D); 0 is the embedding output, n the output of the n-th layer.
        qkv: queries, keys, values (B, T, D) of the chosen layer; empty if none was chosen.
    """

    hidden: dict[int, Tensor]
    qkv: list[Tensor]


class TokenTeacher:
    """A frozen encoder asked for the states of the student's tokens. Not a module: it is never trained or saved.

    Args:
        model: a Transformers-style encoder: (input_ids, attention_mask, output_hidden_states) -> hidden_states.
        ids: (V,) teacher id of each student id; None where both have one vocabulary.
        prefix_ids: teacher ids to put after the first token (the student is trained without the prefix that the
            teacher wants); their states are dropped.
        qkv: the query, key and value modules of one layer of `model`, for the relation terms.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        ids: Tensor | None = None,
        prefix_ids: Sequence[int] = (),
        qkv: Sequence[nn.Module] = (),
    ) -> None:
        self._model = model.eval().requires_grad_(False)
        self._ids = ids
        self._prefix = torch.tensor(list(prefix_ids), dtype=torch.int64)
        self._capture = Capture(qkv) if qkv else None

    @torch.no_grad()
    def targets(self, input_ids: Tensor, attention_mask: Tensor, layers: Iterable[int]) -> TokenTargets:
        """States of every token of (B, T) student ids; `layers` as in `TokenTargets.hidden`, -1 for the last."""
        device = input_ids.device
        if next(self._model.parameters()).device != device:
            self._model.to(device)
        ids = input_ids if self._ids is None else self._ids.to(device)[input_ids]
        extra = len(self._prefix)
        if extra:
            prefix = self._prefix.to(device).expand(len(ids), -1)
            ids = torch.cat([ids[:, :1], prefix, ids[:, 1:]], dim=1)
            ones = torch.ones_like(prefix).to(attention_mask.dtype)
            attention_mask = torch.cat([attention_mask[:, :1], ones, attention_mask[:, 1:]], dim=1)
        output = self._model(input_ids=ids, attention_mask=attention_mask, output_hidden_states=True)
        states = output.hidden_states
        qkv = self._capture.take() if self._capture else []
        return TokenTargets(
            {layer: _without(states[layer], extra) for layer in layers}, [_without(state, extra) for state in qkv]
        )


def _without(states: Tensor, extra: int) -> Tensor:
    """(B, extra + T, D) without positions 1 .. extra."""
    return torch.cat([states[:, :1], states[:, 1 + extra :]], dim=1) if extra else states
