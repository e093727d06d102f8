"""Which parameters are trained, by which optimizer, and their state as plain named tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from slonik.core.errors import SlonikError
from slonik.train.embedding_tables import EmbeddingTables
from slonik.train.lamb import Lamb
from slonik.train.lazy_rows import LazyRowAdamW
from slonik.train.parameter_groups import hidden_matrices, parameter_groups
from slonik.train.train_config import TrainConfig
from slonik.train.wrapping import local, part_of

_ADAFACTOR_EPSILON = (1e-15, 1e-3)  # torch squares the first: 1e-30, as in Shazeer and Stern 2018


class Optimizers:
    """The optimizer of the configuration, and row-wise AdamW for large embedding tables; stepped and saved as one.

    Args:
        modules: name -> module whose parameters are trained (the model, and an objective with heads).
        config: rates, decay.
        tables: the large embedding tables, prepared.
        reduce: adds a tensor up over the processes that hold the parameters in parts.

    Raises:
        SlonikError: nothing is left to train.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        config: TrainConfig,
        tables: EmbeddingTables | None = None,
        reduce: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        tables = tables or EmbeddingTables(modules, config)
        self._reduce = reduce
        self.named = _trained_parameters(modules)
        if not self.named:
            raise SlonikError("there is nothing to train: every parameter is frozen")
        kinds = dict.fromkeys((id(parameter) for parameter in self.named.values()), "dense")
        if config.optimizer == "muon":
            kinds |= dict.fromkeys(hidden_matrices(modules) & kinds.keys(), "muon")
        kinds |= dict.fromkeys(tables.by_rows & kinds.keys(), "lazy")
        self._peak = config.learning_rate
        groups = parameter_groups(self.named, config.weight_decay, config.layer_decay)
        self._optimizers = {
            kind: _optimizer(kind, chosen, config)
            for kind in ("dense", "muon", "lazy")
            if (chosen := _of_kind(groups, kind, kinds))
        }

    def set_ratio(self, ratio: float) -> float:
        """Set every learning rate to `ratio` times its peak; returns the rate where no layer decay applies."""
        for optimizer in self._optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = self._peak * ratio * group["scale"]
        return self._peak * ratio

    def scale_gradients(self, factor: float | Tensor) -> None:
        """Multiply every gradient by a number, or by one that lies on the device."""
        torch._foreach_mul_(self._gradients(), factor)

    def clip(self, limit: float | None) -> Tensor:
        """Scale gradients down to a joint norm of `limit`; returns the norm before."""
        gradients = self._gradients()
        norms = torch._foreach_norm(gradients)
        norm = torch.linalg.vector_norm(torch.stack([value.float() for value in norms]))
        if self._reduce is not None:
            norm = self._reduce(norm.square()).sqrt()
        # On an accelerator always multiplied, by 1 where nothing is clipped: no wait for the device's answer.
        if limit is not None and (norm.device.type != "cpu" or norm > limit):
            torch._foreach_mul_(gradients, torch.clamp(limit / (norm + 1e-6), max=1.0))
        return norm

    def _gradients(self) -> list[Tensor]:
        """Dense gradients, the values of coalesced sparse ones, this process's part of those in parts."""
        gradients = []
        for parameter in self.named.values():
            if parameter.grad is None:
                continue
            if parameter.grad.is_sparse and not parameter.grad.is_coalesced():
                parameter.grad = parameter.grad.coalesce()
            gradients.append(parameter.grad._values() if parameter.grad.is_sparse else local(parameter.grad))
        return gradients

    def step(self) -> None:
        """Update the parameters and forget the gradients."""
        for optimizer in self._optimizers.values():
            optimizer.step()
        self.forget()

    def forget(self) -> None:
        """Drop the gradients."""
        for optimizer in self._optimizers.values():
            optimizer.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """The whole state as tensors named `optimizer/parameter/key`."""
        names = {id(parameter): name for name, parameter in self.named.items()}
        return {
            f"{kind}/{names[id(parameter)]}/{key}": torch.as_tensor(value)
            for kind, optimizer in self._optimizers.items()
            for parameter, state in optimizer.state.items()
            for key, value in state.items()
        }

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `tensors` gave.

        Raises:
            SlonikError: the tensors belong to another model.
        """
        for path, value in tensors.items():
            kind, name, key = path.split("/")
            parameter = self.named.get(name)
            if parameter is None or kind not in self._optimizers:
                raise SlonikError(f"the checkpoint has optimizer state for {name!r}, which this run does not train")
            optimizer = self._optimizers[kind]
            # AdamW's fused kernel wants its count with the parameter, the others read theirs on the host.
            away = value.dim() > 0 or isinstance(optimizer, torch.optim.AdamW)
            optimizer.state[parameter][key] = part_of(value, parameter) if away else value


def _of_kind(groups: Sequence[Mapping[str, Any]], kind: str, kinds: Mapping[int, str]) -> list[dict[str, Any]]:
    """The part of each group that `kind` trains; empty groups are left out."""
    found = [{**group, "params": [p for p in group["params"] if kinds[id(p)] == kind]} for group in groups]
    return [group for group in found if group["params"]]


def _optimizer(kind: str, groups: list[dict[str, Any]], config: TrainConfig) -> torch.optim.Optimizer:
    rate, betas, epsilon = config.learning_rate, config.betas, config.epsilon
    if kind == "lazy":
        return LazyRowAdamW(groups, rate, betas, epsilon)
    if kind == "muon":
        # Scaled to AdamW's update size, so that one learning rate serves both (Liu et al. 2025, "Muon is Scalable").
        return torch.optim.Muon(groups, lr=rate, adjust_lr_fn="match_rms_adamw")
    if config.optimizer == "adafactor":
        # Steps are relative to each matrix's own size, as in T5; its second moments follow beta2_decay, not betas.
        return torch.optim.Adafactor(groups, lr=rate, eps=_ADAFACTOR_EPSILON)
    if config.optimizer == "lamb":
        return Lamb(groups, rate, betas, epsilon)
    return torch.optim.AdamW(groups, lr=rate, betas=betas, eps=epsilon, fused=True)


def _trained_parameters(modules: Mapping[str, nn.Module]) -> dict[str, nn.Parameter]:
    return {
        f"{prefix}.{name}": parameter
        for prefix, module in modules.items()
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }


def trained_count(parameters: Sequence[Tensor]) -> int:
    """How many numbers are trained."""
    return sum(math.prod(parameter.shape) for parameter in parameters)
