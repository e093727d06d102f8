"""Which parameters are trained, by which optimizer, at which rate, and the optimizers' state as plain named tensors.

Parameters are told apart by names and shapes: decayed or not, deep or shallow, matrix or table.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from slonik.core.errors import SlonikError
from slonik.train.adam_variants import Adafactor, Lamb, LazyRowAdamW
from slonik.train.processes import local, part_of
from slonik.train.train_config import Schedule, TrainConfig

_ADAFACTOR_EPSILON = (1e-15, 1e-3)  # torch squares the first: 1e-30, as in Shazeer and Stern 2018
_LARGE_TABLE_ROWS = 4096
_LAYER = re.compile(r"(?:^|\.)(?:layer|layers|block|blocks|h)\.(\d+)\.")
_EMBEDDING = re.compile(r"(?:^|\.)(?:embeddings?|relative_embedding|shared|wte|wpe|embed_tokens)(?:\.|$)")
_FREE_TABLE = re.compile(r"embed|position|relative")
"""In the own name of a parameter that no layer of torch holds: LTG-BERT's relative positions, class tokens."""


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
        groups = parameter_groups(self.named, config.weight_decay, config.layer_decay, apart=undecayed(modules))
        self._optimizers = {
            kind: _optimizer(kind, chosen, config)
            for kind in ("dense", "muon", "lazy")
            if (chosen := _of_kind(groups, kind, kinds))
        }

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Those of all optimizers: what torch's GradScaler looks through."""
        return [group for optimizer in self._optimizers.values() for group in optimizer.param_groups]

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
            gradients.append(parameter.grad.values() if parameter.grad.is_sparse else local(parameter.grad))
        return gradients

    def step(self) -> None:
        """Update the parameters and forget the gradients."""
        for optimizer in self._optimizers.values():
            optimizer.step()
        self.forget()

    def forget(self) -> None:
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
            optimizer, parameter, key = self._place(path)
            # AdamW's fused kernel wants its count with the parameter, the others read theirs on the host.
            away = value.dim() > 0 or isinstance(optimizer, torch.optim.AdamW)
            optimizer.state[parameter][key] = part_of(value, parameter) if away else value

    def room(self, sizes: Mapping[str, tuple[torch.Size, torch.dtype]]) -> dict[str, Tensor]:
        """Tensors of the state, in parts where the parameters are, for somebody to fill with what `tensors` gave.

        Raises:
            SlonikError: the names belong to another model.
        """
        found = {}
        for path, (size, dtype) in sizes.items():
            optimizer, parameter, key = self._place(path)
            if size == parameter.shape:
                made = torch.zeros_like(parameter, dtype=dtype, requires_grad=False)
            else:
                away = len(size) > 0 or isinstance(optimizer, torch.optim.AdamW)
                made = torch.zeros(size, dtype=dtype, device=parameter.device if away else None)
            optimizer.state[parameter][key] = found[path] = made
        return found

    def _place(self, path: str) -> tuple[torch.optim.Optimizer, nn.Parameter, str]:
        kind, name, key = path.split("/")
        parameter = self.named.get(name)
        if parameter is None or kind not in self._optimizers:
            raise SlonikError(f"the checkpoint has optimizer state for {name!r}, which this run does not train")
        return self._optimizers[kind], parameter, key


def _trained_parameters(modules: Mapping[str, nn.Module]) -> dict[str, nn.Parameter]:
    return {
        f"{prefix}.{name}": parameter
        for prefix, module in modules.items()
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }


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
        return Adafactor(groups, lr=rate, eps=_ADAFACTOR_EPSILON)
    if config.optimizer == "lamb":
        return Lamb(groups, rate, betas, epsilon)
    return torch.optim.AdamW(groups, lr=rate, betas=betas, eps=epsilon, fused=True)


def learning_rate_ratio(progress: float, schedule: Schedule, warmup: float, final: float, decay: float = 0.2) -> float:
    """Share of the peak learning rate: a pure function of progress, so that nothing has to be saved.

    Args:
        progress: share of the run done, 0 to 1.
        schedule: after the warm-up, fall as half a cosine or a line from 1 to `final`, or stay at 1; `wsd`: stay, and
            fall in the last part as 1 - sqrt (Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond Fixed
            Training Durations", 2024, section 3); `inverse_sqrt`: the root of warm-up / progress (Vaswani et al., 2017,
            section 5.3; T5).
        warmup: share of the run with a linear rise from 0.
        final: the value at progress 1.
        decay: `wsd`: the share of the run that the fall takes.
    """
    if progress < warmup:
        return progress / warmup
    if schedule == "constant":
        return 1.0
    if schedule == "inverse_sqrt":
        return math.sqrt(warmup / progress)
    if schedule == "wsd":
        fall = math.sqrt(min(1.0, max(0.0, progress - (1.0 - decay)) / decay))
    else:
        done = min(1.0, (progress - warmup) / (1.0 - warmup))
        fall = done if schedule == "linear" else (1.0 - math.cos(math.pi * done)) / 2.0
    return 1.0 - (1.0 - final) * fall


def undecayed(modules: Mapping[str, nn.Module]) -> set[int]:
    """Ids of the parameters with two axes or more that are no matrices of layers: embeddings, positions, norms.

    A head that is tied to the words is the table of the words, and is told here by that; so are relative positions that
    are a table (T5, DeBERTa) or a parameter of their own (LTG-BERT). Vectors are left out of decay by their shape.
    """
    found: set[int] = set()
    for module in modules.values():
        for part in module.modules():
            table = isinstance(part, nn.Embedding | nn.EmbeddingBag) or "Norm" in type(part).__name__
            for name, parameter in part.named_parameters(recurse=False):
                if table or _FREE_TABLE.search(name):
                    found.add(id(parameter))
    return found


def parameter_groups(
    named: Mapping[str, nn.Parameter],
    weight_decay: float,
    layer_decay: float = 1.0,
    *,
    apart: Collection[int] = (),
) -> list[dict[str, Any]]:
    """Groups for a torch optimizer: matrices with `weight_decay`; vectors (biases, norms) and tables without.

    Args:
        named: name -> parameter to train; all of them in one go, for the layers are counted here.
        weight_decay: of parameters with two axes or more.
        layer_decay: see `layer_scales`.
        apart: ids of those of them that are not decayed, as `undecayed` found them.

    Returns:
        Groups with `params`, `weight_decay`, and `scale`: the factor of the learning rate in this group.
    """
    scales = layer_scales(named, layer_decay)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in named.items():
        matrix = parameter.dim() >= 2 and id(parameter) not in apart
        groups.setdefault((scales[name], matrix), []).append(parameter)
    ordered = sorted(groups.items(), key=lambda item: (not item[0][1], -item[0][0]))
    return [
        {"params": parameters, "weight_decay": weight_decay if matrices else 0.0, "scale": scale}
        for (scale, matrices), parameters in ordered
    ]


def layer_scales(names: Iterable[str], layer_decay: float) -> dict[str, float]:
    """Factor of the learning rate by parameter name: 1 for a head, `layer_decay` less for each layer further down.

    With L layers: heads, poolers and final norms 1, the top layer d, the lowest d^L, embeddings d^(L + 1)
    (ELECTRA, appendix B; layer-wise learning rate decay). Layers are found by the usual names
    (`encoder.layer.3.`, `layers.3.`, `h.3.`, `block.3.`); both stacks of an encoder-decoder count from their own
    bottom.
    """
    names = list(names)
    if layer_decay == 1.0:
        return dict.fromkeys(names, 1.0)
    places = {name: int(found[1]) for name in names if (found := _LAYER.search(name))}
    layers = max(places.values(), default=-1) + 1
    scales = {}
    for name in names:
        if name in places:
            scales[name] = layer_decay ** (layers - places[name])
        else:
            scales[name] = layer_decay ** (layers + 1) if _EMBEDDING.search(name) else 1.0
    return scales


def hidden_matrices(modules: Mapping[str, nn.Module]) -> set[int]:
    """Ids of the weights that Muon is meant for: two-axis weights of linear layers, output vocabularies excluded.

    Tables, tied heads, vectors and free-standing parameters (relative positions) stay with AdamW, as its author says.
    """
    apart: set[int] = set()
    found: set[int] = set()
    for module in modules.values():
        output = getattr(module, "get_output_embeddings", lambda: None)()
        if isinstance(weight := getattr(output, "weight", None), Tensor):
            apart.add(id(weight))
        for part in module.modules():
            weight = getattr(part, "weight", None)
            if isinstance(part, nn.Embedding):
                apart.add(id(weight))
            elif isinstance(weight, nn.Parameter) and weight.dim() == 2:
                found.add(id(weight))
    return found - apart


def trains_rows(modules: Mapping[str, nn.Module], config: TrainConfig, world: int) -> bool:
    """Whether a run that begins in `world` processes trains large tables by the rows of the batch.

    That goes with adamw and muon in one process; adafactor, lamb and several processes train every row.
    """
    lazy = config.embeddings == "lazy" and config.optimizer in ("adamw", "muon") and world == 1
    return lazy and bool(_large_tables(modules))


class EmbeddingTables:
    """The large tables of the trained modules, switched to the kind of gradient that the configuration asks for.

    Args:
        modules: name -> module.
        config: `embeddings`.
        rows: train only the rows of the batch, as `trains_rows` said when the run began; None asks it.

    Attributes:
        by_rows: ids of the weights that have sparse gradients.
    """

    def __init__(self, modules: Mapping[str, nn.Module], config: TrainConfig, rows: bool | None = None) -> None:
        tables = _large_tables(modules)
        self._as_found = [(table, table.sparse, table.weight.requires_grad) for table in tables]
        sparse = trains_rows(modules, config, 1) if rows is None else rows
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
            for parameter in part.parameters(recurse=False):
                uses[id(parameter)] = uses.get(id(parameter), 0) + 1
    return [
        part
        for module in modules.values()
        for part in module.modules()
        if isinstance(part, nn.Embedding) and part.num_embeddings >= _LARGE_TABLE_ROWS and uses[id(part.weight)] == 1
    ]
