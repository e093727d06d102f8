"""Measured times of blocks on this machine: one layer by heads and by neurons, and what is outside the layers.

A text at batch 1 on one thread, in PyTorch: the same runtime that the cut model runs in here; another runtime (ONNX)
has other times, though much the same ratios. A layer's time is taken as a sum of an attention part, a feed-forward
part and a rest, which is what makes the search over layers exact; what it leaves out is checked by measuring the
result. Tables are kept in the cache folder by machine, config and text length.
"""

from __future__ import annotations

import copy
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedModel

from slonik.compression.plan import Plan, whole
from slonik.compression.shape import Costs, ModelShape
from slonik.compression.surgery import apply
from slonik.core.config import Config
from slonik.core.files import write_json
from slonik.core.hashing import sha256_json
from slonik.core.identity import code_identity
from slonik.core.paths import cache_dir
from slonik.core.progress import track
from slonik.models.anatomy import dissect

_ROUNDS = 12
_POINTS = 7
_TOKENS = 1024
_NOT_DECIDING = ("_name_or_path", "architectures", "transformers_version", "dtype", "torch_dtype")


class LatencyTable(Config):
    """Seconds of one layer and of the rest of the model.

    Attributes:
        machine: processor and software that were measured. tokens: length of the text.
        fixed: time outside the layers (embeddings, pooler).
        heads, neurons: measured numbers, ascending; head_times, neuron_times: times of a layer with that many and
            all of the other kind.
    """

    machine: str
    tokens: int
    fixed: float
    heads: tuple[int, ...] = Field(min_length=1)
    head_times: tuple[float, ...]
    neurons: tuple[int, ...] = Field(min_length=1)
    neuron_times: tuple[float, ...]

    def layer(self, heads: int, neurons: int) -> float:
        """Seconds of one layer; between measured numbers by a straight line, and on along it below the least."""
        whole_layer = (self.head_times[-1] + self.neuron_times[-1]) / 2
        return _line(heads, self.heads, self.head_times) + _line(neurons, self.neurons, self.neuron_times) - whole_layer

    def costs(self, shape: ModelShape) -> Costs:
        """The additive costs of any cut of a model of `shape`."""
        sizes = shape.sizes
        alike = (self.head_times[-1] + self.neuron_times[-1]) / 2
        head_rows = tuple(_row(count, self.heads, self.head_times) for count in sizes.heads)
        ffn_rows = tuple(_row(count, self.neurons, self.neuron_times) for count in sizes.ffn)
        return Costs("latency", self.fixed, np.full(shape.depth, -alike), head_rows, ffn_rows)


def measure(model: PreTrainedModel, *, tokens: int = 32, use_cache: bool = True) -> LatencyTable:
    """Time the blocks of `model` (some seconds), or read the times from the cache.

    Args:
        tokens: length of the text.
        use_cache: read and write the cache folder.
    """
    weights = next(model.parameters())
    facts = {
        "machine": machine_name(),
        "config": {name: value for name, value in model.config.to_dict().items() if name not in _NOT_DECIDING},
        "dtype": str(weights.dtype),
        "device": str(weights.device),
        "attention": getattr(model.config, "_attn_implementation", None),
        "tokens": tokens,
        "code": code_identity("slonik.compression.latency"),
    }
    path = cache_dir() / "latency" / f"{sha256_json(facts)[:24]}.json"
    if use_cache and (known := _read(path)) is not None:
        return known
    table = _measure(model, tokens)
    if use_cache:
        write_json(path, table.model_dump(mode="json"))
    return table


def time_text(model: PreTrainedModel, tokens: int = 32, rounds: int = _ROUNDS) -> float:
    """Median seconds of one text of `tokens` tokens through `model`, one thread, after a warm-up."""
    ids = _ids(dissect(model).vocab, tokens)
    with one_thread(), torch.inference_mode():
        return _times([lambda: model(input_ids=ids, attention_mask=torch.ones_like(ids))], rounds)[0]


def share_of_time(
    model: PreTrainedModel, whole_model: PreTrainedModel, tokens: int = 32, rounds: int = _ROUNDS
) -> float:
    """Time of a text through `model` as a share of that through `whole_model`, the two in turns on one thread."""
    ids = _ids(min(dissect(each).vocab for each in (model, whole_model)), tokens)
    mask = torch.ones_like(ids)
    with one_thread(), torch.inference_mode():
        cut, uncut = _times(
            [partial(each, input_ids=ids, attention_mask=mask) for each in (model, whole_model)], rounds
        )
    return cut / uncut


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch on a single thread inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def machine_name() -> str:
    """Processor and PyTorch version."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name}, {os.cpu_count()} CPUs, torch {torch.__version__}"


def _measure(model: PreTrainedModel, tokens: int) -> LatencyTable:
    body = dissect(model)
    sizes = [(part.heads, part.ffn) for part in body.layers]
    layer = 0 if body.first_layer_pinned else sizes.index(max(sizes))
    parts = body.layers[layer]
    plan = _few_tokens(whole(model, with_parent=False), model, body.vocab)
    heads = [parts.heads] if "heads" in body.anatomy.keeps else _points(parts.heads, 1)
    neurons = _points(parts.ffn, 16 if parts.ffn >= 32 else 1)
    blocks: list[Callable[[], Any]] = []
    ids = _ids(min(body.vocab, _TOKENS), tokens)
    shapes = [(count, parts.ffn) for count in heads] + [(parts.heads, count) for count in neurons]
    with one_thread(), torch.inference_mode():
        for count, inner in track(shapes, "cutting blocks to time"):
            blocks.append(_layer_call(apply(model, _sized(plan, layer, count, inner), check_parent=False), ids))
        shallow = apply(model, _sized(plan, layer, parts.heads, parts.ffn), check_parent=False)
        blocks.append(lambda: shallow(input_ids=ids, attention_mask=torch.ones_like(ids)))
        times = _times(blocks, _ROUNDS)
    head_times = _rising(times[: len(heads)])
    neuron_times = _rising(times[len(heads) : -1])
    outside = max(0.0, times[-1] - (head_times[-1] + neuron_times[-1]) / 2)
    return LatencyTable(
        machine=machine_name(),
        tokens=tokens,
        fixed=outside,
        heads=tuple(heads),
        head_times=head_times,
        neurons=tuple(neurons),
        neuron_times=neuron_times,
    )


def _few_tokens(plan: Plan, model: PreTrainedModel, vocab: int) -> Plan:
    """`plan` with few tokens, which is quick to cut: a look-up costs the same in a small table."""
    kept = list(range(min(vocab, _TOKENS)))
    pad = getattr(model.config, "pad_token_id", None)
    if pad is not None and len(kept) <= pad < vocab:
        kept.append(pad)
    return plan.model_copy(update={"tokens": tuple(kept)})


def _sized(plan: Plan, layer: int, heads: int, neurons: int) -> Plan:
    """A one-layer model of that many heads and neurons."""
    return plan.model_copy(
        update={"layers": (layer,), "heads": (tuple(range(heads)),), "ffn": (tuple(range(neurons)),)}
    )


def _layer_call(model: PreTrainedModel, ids: Tensor) -> Callable[[], Any]:
    """A call of the model's only layer with the arguments that it gets in a real forward pass."""
    layer = dissect(model).layers[0].module
    seen: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def keep(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.append((args, kwargs))

    handle = layer.register_forward_pre_hook(keep, with_kwargs=True)
    model(input_ids=ids, attention_mask=torch.ones_like(ids))
    handle.remove()
    args, kwargs = seen[0]
    alone = copy.deepcopy(layer)
    return lambda: alone(*args, **kwargs)


def _times(calls: Sequence[Callable[[], Any]], rounds: int) -> list[float]:
    """Median seconds of each call, by the thread's own clock: on an idle machine that is the time that passes, on a
    busy one it leaves out the waiting. Calls take turns, so that a hot or busy spell falls on all alike."""
    found: list[list[float]] = [[] for _ in calls]
    for turn in range(rounds + 2):
        for call, times in zip(calls, found, strict=True):
            call()  # its weights are in the caches now, as they are inside a model that runs again and again
            start = time.thread_time()
            call()
            spent = time.thread_time() - start
            if turn >= 2:
                times.append(spent)
    return [statistics.median(times) for times in found]


def _ids(rows: int, tokens: int) -> Tensor:
    return (torch.arange(tokens) * 7919 % max(1, rows - 5) + min(5, rows - 1))[None]


def _points(size: int, multiple: int) -> list[int]:
    """Some numbers up to `size`, ascending, multiples but for the last."""
    steps = {max(multiple, round(size * share / _POINTS / multiple) * multiple) for share in range(1, _POINTS)}
    return sorted({step for step in steps if step < size} | {size})


def _rising(times: Sequence[float]) -> tuple[float, ...]:
    """Times that never fall as sizes grow: noise must not make a larger block look cheaper."""
    return tuple(float(value) for value in np.maximum.accumulate(times))


def _line(count: int, counts: Sequence[int], times: Sequence[float]) -> float:
    if count < counts[0] and len(counts) > 1:
        slope = (times[-1] - times[0]) / (counts[-1] - counts[0])
        return max(0.0, times[0] - slope * (counts[0] - count))
    return float(np.interp(count, counts, times))


def _row(size: int, counts: Sequence[int], times: Sequence[float]) -> np.ndarray:
    return np.array([_line(count, counts, times) for count in range(size + 1)])


def _read(path: Path) -> LatencyTable | None:
    try:
        return LatencyTable.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
