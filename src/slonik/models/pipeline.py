"""The modules behind a transformer on tensors: trainable, and a part of the ONNX graph.

The same modules as `slonik.text.pipeline`, which describes them; their weights become parameters here. A Dense that is
the model's own pooler shares its parameters with it, so that training changes both as one.

Shapes: B texts, T tokens, D dimensions of a token state, P of a pooled vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from slonik.text.pipeline import EPS, Dense, Dropout, LayerNorm, Module, Normalize, split


class Pipeline(nn.Module):
    """Token states to sentence vectors, as `modules` say.

    Args:
        modules: of `slonik.text.pipeline`.
        truncate_dim: so many dimensions of the result are given; None = all.
    """

    def __init__(self, modules: Sequence[Module], truncate_dim: int | None = None) -> None:
        super().__init__()
        before, self.pooling, after = split(modules)
        self.before = nn.ModuleList(_made(module) for module in before)
        self.after = nn.ModuleList(_made(module) for module in after)
        self.truncate_dim = truncate_dim

    def forward(self, hidden: Tensor, mask: Tensor, prompt: Tensor | None = None) -> Tensor:
        """Sentence vectors (B, dimension) of token states (B, T, D), padded on the right; float32.

        Args:
            mask: (B, T), 1 for tokens.
            prompt: (B,) how many first tokens are a prompt's; they are left out where the pooling says so.
        """
        return self.finish(self.pool(hidden, mask, prompt))

    def pool(self, hidden: Tensor, mask: Tensor, prompt: Tensor | None = None) -> Tensor:
        """The pooled vectors (B, P) alone."""
        states = hidden.float()
        for module in self.before:
            states = module(states)
        if prompt is not None and not self.pooling.include_prompt:
            mask = without_prompt(mask, prompt)
        return pool_modes(states, mask, self.pooling.modes).float()

    def finish(self, pooled: Tensor, *, normalize: bool = True) -> Tensor:
        """What the modules behind the pooling make of its vectors.

        Args:
            normalize: False leaves out a division by the norm at the end.
        """
        modules = list(self.after)
        while not normalize and modules and isinstance(modules[-1], _Normalize | nn.Dropout):
            modules.pop()
        for module in modules:
            pooled = module(pooled)
        pooled = pooled.float()  # under autocast a Dense gives less
        return pooled if self.truncate_dim is None else pooled[:, : self.truncate_dim]

    def unnormalised(self, hidden: Tensor, mask: Tensor, prompt: Tensor | None = None) -> Tensor:
        """Sentence vectors without a division by the norm at the end: what objectives with norms of their own want."""
        return self.finish(self.pool(hidden, mask, prompt), normalize=False)

    def described(self, modules: Sequence[Module]) -> tuple[Module, ...]:
        """`modules`, from which this was made, with the weights as they are now."""
        before, pooling, after = split(modules)
        now = [_described(module, made) for module, made in zip(before, self.before, strict=True)]
        rest = [_described(module, made) for module, made in zip(after, self.after, strict=True)]
        return (*now, pooling, *rest)


def share_pooler(pipeline: Pipeline, pooler: nn.Module | None) -> bool:
    """Let the first Dense and the model's pooler be one, where they compute the same; returns whether they do."""
    linear: Any = getattr(pooler, "dense", pooler)
    first: Any = next(iter(pipeline.after), None)
    usual = isinstance(first, _Dense) and isinstance(first.activation_function, nn.Tanh) and not first.residual_added
    if not usual or not isinstance(linear, nn.Linear) or pipeline.pooling.modes != ("cls",):
        return False
    if linear.weight.shape != first.linear.weight.shape or (linear.bias is None) != (first.linear.bias is None):
        return False
    same = torch.equal(linear.weight, first.linear.weight.to(linear.weight))
    if not same or (linear.bias is not None and not torch.equal(linear.bias, first.linear.bias.to(linear.bias))):
        return False
    first.linear = linear
    return True


def without_prompt(mask: Tensor, prompt: Tensor) -> Tensor:
    """`mask` (B, T) with zeros for the first `prompt` (B,) tokens of each text."""
    places = torch.arange(mask.shape[1], device=mask.device)[None, :]
    return mask * (places >= prompt.to(mask.device).reshape(-1, 1)).to(mask.dtype)


def pool_modes(hidden: Tensor, mask: Tensor, modes: Sequence[str]) -> Tensor:
    """Pool (B, T, D) by each of `modes`, side by side: (B, M * D)."""
    found = [_pool(hidden, mask, mode) for mode in modes]
    return found[0] if len(found) == 1 else torch.cat(found, dim=-1)


def _pool(hidden: Tensor, mask: Tensor, mode: str) -> Tensor:
    counted = (mask != 0).to(torch.int32)  # onnxruntime has had an ArgMax that was wrong for int64
    if mode == "cls":
        return _token(hidden, counted.argmax(dim=1))
    if mode == "lasttoken":
        last = mask.shape[1] - 1 - counted.flip(1).argmax(dim=1)
        return _token(hidden, last) * counted.amax(dim=1, keepdim=True)
    if mode == "max":
        return hidden.masked_fill((mask == 0).unsqueeze(-1), float("-inf")).amax(dim=1)
    weights = counted.to(torch.float32)
    if mode == "weightedmean":
        weights = weights * torch.arange(1, mask.shape[1] + 1, device=mask.device, dtype=torch.float32)
    total = (weights.unsqueeze(-2) @ hidden).squeeze(-2)
    count = weights.sum(-1, keepdim=True).clamp_min(1e-9)
    return total / (count.sqrt() if mode == "mean_sqrt_len_tokens" else count)


def _token(hidden: Tensor, places: Tensor) -> Tensor:
    """The states (B, D) at one place of each text."""
    chosen = places.reshape(-1, 1, 1).expand(-1, 1, hidden.shape[-1])
    return hidden.gather(1, chosen).squeeze(1)


class _Dense(nn.Module):
    def __init__(self, module: Dense) -> None:
        super().__init__()
        self.linear = _linear(module.weight, module.bias)
        self.activation_function = _activation(module)
        self.residual = _linear(module.shortcut, None) if module.shortcut is not None else None
        self.residual_added = module.residual

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.activation_function(_mapped(self.linear, x))
        if self.residual_added:
            made = made + (x if self.residual is None else _mapped(self.residual, x))
        return made


def _mapped(linear: nn.Linear, x: Tensor) -> Tensor:
    """linear(x) in x's precision: a pooler that is shared with a model in bfloat16 has weights in that."""
    if linear.weight.dtype == x.dtype:
        found: Tensor = linear(x)
        return found
    bias = None if linear.bias is None else linear.bias.to(x.dtype)
    return nn.functional.linear(x, linear.weight.to(x.dtype), bias)


class _Normalize(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min(EPS)


def _made(module: Module) -> nn.Module:
    if isinstance(module, Dense):
        return _Dense(module)
    if isinstance(module, LayerNorm):
        norm = nn.LayerNorm(len(module.weight))
        norm.weight = nn.Parameter(_tensor(module.weight))
        norm.bias = nn.Parameter(_tensor(module.bias))
        return norm
    if isinstance(module, Dropout):
        return nn.Dropout(module.rate)
    assert isinstance(module, Normalize)
    return _Normalize()


def _described(module: Any, made: Any) -> Module:
    if isinstance(module, Dense):
        slope = made.activation_function.weight if module.slope is not None else None
        return replace(
            module, weight=_array(made.linear.weight), bias=_array(made.linear.bias), slope=_array(slope),
            shortcut=None if made.residual is None else _array(made.residual.weight),
        )  # fmt: skip
    if isinstance(module, LayerNorm):
        return LayerNorm(_array(made.weight), _array(made.bias))
    kept: Module = module
    return kept


def _linear(weight: Any, bias: Any) -> nn.Linear:
    out, into = weight.shape
    linear = nn.Linear(into, out, bias=bias is not None, device="meta")
    linear.weight = nn.Parameter(_tensor(weight))
    if bias is not None:
        linear.bias = nn.Parameter(_tensor(bias))
    return linear


def _activation(module: Dense) -> nn.Module:
    if module.name in ("Softmax", "Softmin", "LogSoftmax"):
        found: nn.Module = getattr(nn, module.name)(dim=-1)
        return found
    made: nn.Module = getattr(nn, module.name)()
    if isinstance(made, nn.PReLU):
        made.weight = nn.Parameter(_tensor(module.slope))
    return made


def _tensor(values: Any) -> Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float32))


def _array(values: Tensor | None) -> Any:
    return None if values is None else np.array(values.detach().float().cpu().numpy())
