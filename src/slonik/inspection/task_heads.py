"""How much every head of a fine-tuned model matters to its own task: Michel's experiment, beside importance by vectors.

Michel et al. (2019, sections 3 and 4): the gradient of the task's loss on labelled examples by a gate on each head, its
absolute value per example; then heads are taken out in that order and the task's loss and share of right answers are
measured again, on examples that were not used for the order. Beside it the order by the model's sentence vectors
(`heads`), which needs no labels: where both agree, labels are not needed. What is compared is the loss of every
example, so that the intervals are over examples.

Shapes: B examples, L layers, H heads (may differ by layer).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from slonik.compression.criteria import CRITERIA
from slonik.compression.gates import gated, open_gates
from slonik.core.errors import SlonikError
from slonik.core.hashing import derive_seed, sha256_json
from slonik.core.numbers import check_count, check_seed
from slonik.core.progress import shown, track, warn_once
from slonik.core.records import Record
from slonik.evaluation.statistics import Spearman, value_of
from slonik.finetuning.items import Item, labelled_fields
from slonik.finetuning.objective import Supervised
from slonik.finetuning.own import own_item
from slonik.finetuning.rows import read_labelled
from slonik.inspection import inspection_record, source_hashes
from slonik.inspection.heads import Heads, Scores
from slonik.inspection.inputs import BATCH
from slonik.inspection.intervals import mean_interval
from slonik.models.anatomy import dissect
from slonik.models.task_model import TaskModel, load_task_model
from slonik.models.task_outputs import outputs_of
from slonik.text.batching import pad_fields

BY_TASK = "task_gate"
BY_VECTORS = "vectors_gate"
_RANDOM = "random"
_TARGETS = ("single", "multi", "number")


@dataclass(frozen=True)
class TaskHeads:
    """How much every head of a fine-tuned model matters to its task.

    Attributes:
        model: its name. examples: labelled ones that the order was made on, and those that losses were measured on.
        scores: order -> importance of every head. correlation: Spearman's, of the order by the task with that by
            vectors; NaN where one is constant. records: importance, correlation and curves.
    """

    model: str
    examples: tuple[int, int]
    scores: dict[str, Scores]
    correlation: float
    records: tuple[Record, ...]


def task_heads(
    model: str | Path | TaskModel,
    rows: str | Path | Sequence[Mapping[str, Any]],
    *,
    limit: int | None = None,
    steps: int = 10,
    seed: int = 0,
    progress: bool = False,
) -> TaskHeads:
    """Importance of every head by the task's own loss, and what heads taken out cost the task.

    Args:
        model: a folder of `slonik finetune`, or a loaded task model, that tells texts or pairs apart by labels or a
            number. rows: labelled examples with the task's columns, best those that it was not trained on; every second
            one makes the order, the others measure.
        limit: at most this many, by chance. steps: of the curve. seed: of that choice and of the random order.
        progress: show it on standard error.

    Raises:
        SlonikError: another kind of task, rows without its columns or labels, fewer than eight of them, or a family
            without known anatomy.
    """
    check_seed(seed)
    check_count("limit", limit)
    opened = model if isinstance(model, TaskModel) else load_task_model(model)
    if opened.target not in _TARGETS or opened.config.pairs == "separate" or not opened.config.columns:
        raise SlonikError(
            f"{opened.name} has the target {opened.target!r}: heads are weighed by the loss of models that `slonik "
            "finetune` trained on one's own rows to give texts or joint pairs a label, labels or a number"
        )
    items = _items(opened, rows, limit, seed)
    if len(items) < 8:
        raise SlonikError(f"there are {len(items)} labelled rows: give eight or more")
    with shown(progress):
        measured = _Task(opened, items[::2], items[1::2])
        scores = measured.scores(seed)
        flat = {name: np.concatenate(layers) for name, layers in scores.items()}
        correlation = value_of(Spearman(flat[BY_TASK], flat[BY_VECTORS]))
        curves = [point for name, layers in scores.items() for point in measured.curve(name, layers, steps=steps)]
    records = measured.importance(scores)
    known = None if np.isnan(correlation) else float(correlation)
    for first, second, value in ((BY_TASK, BY_VECTORS, known), (BY_VECTORS, BY_TASK, known)):
        records.append(
            measured.record(f"heads_against_{second}", first, "rank_correlation", value, detail={"against": second})
        )
    sizes = (len(measured.ordering), len(measured.measuring))
    return TaskHeads(opened.name, sizes, scores, float(correlation), (*records, *curves))


def _items(
    model: TaskModel, rows: str | Path | Sequence[Mapping[str, Any]], limit: int | None, seed: int
) -> list[Item]:
    columns = model.config.columns
    read = read_labelled(rows, [*columns["text"], columns["label"]])
    name = str(rows) if isinstance(rows, str | Path) else "the rows"
    items = [own_item(row, at, model.config, f"{name}, row {at + 1}") for at, row in enumerate(read)]
    order = np.random.default_rng(derive_seed(seed, "labelled rows", len(items))).permutation(len(items))
    return [items[at] for at in order[:limit]]


class _Task:
    """A task model with labelled examples in two halves."""

    def __init__(self, model: TaskModel, ordering: Sequence[Item], measuring: Sequence[Item]) -> None:
        self.model, self.ordering, self.measuring = model, ordering, measuring
        self._objective = Supervised(model.config.target)
        target = model.config.target
        before = model.pairs.cut_rows
        self._fields = [labelled_fields(part, model.pairs, target) for part in (ordering, measuring)]
        if cut := model.pairs.cut_rows - before:
            warn_once(
                f"{cut:,} of {len(ordering) + len(measuring):,} rows are longer than the {model.max_length} tokens "
                f"that {model.name} reads, and were cut"
            )
        self._body = dissect(model.transformer)
        texts = [" ".join(row) for item in (*ordering, *measuring) for row in item.input.rows]
        labels = sha256_json([[str(item.key), str(item.label)] for item in (*ordering, *measuring)])
        self.record = partial(
            inspection_record, model.name, n=len(measuring), hashes=source_hashes(model, texts) | {"data": labels}
        )

    def scores(self, seed: int) -> dict[str, Scores]:
        """Importance by the task's loss, by sentence vectors, and at random."""
        batches = list(self._batches())
        loss = self._example_losses
        found = CRITERIA["gate"](self.model.transformer, batches, loss, {"heads"}).heads
        assert found is not None
        texts = [" ".join(row) for item in self.ordering for row in item.input.rows]
        rng = np.random.default_rng(derive_seed(seed, "random heads"))
        return {
            BY_TASK: tuple(np.asarray(layer, dtype=np.float64) for layer in found),
            BY_VECTORS: Heads(self.model.encoder, texts, prefix="").scores("gate"),
            _RANDOM: tuple(rng.random(count) for count in self._body.heads),
        }

    def _batches(self) -> list[dict[str, Tensor]]:
        fields = self._fields[0]
        found = []
        for start in range(0, len(fields), BATCH):
            part = fields[start : start + BATCH]
            found.append(_padded(part, self.model.pad_id))
        return found

    def _example_losses(self, _transformer: PreTrainedModel, batch: Mapping[str, Tensor]) -> Tensor:
        """(B,) loss of every example: the mean over a batch of one."""
        outputs = self.model(batch)
        losses = [
            self._objective.of_outputs(outputs[at : at + 1], {"label": batch["label"][at : at + 1]}).total
            for at in range(len(outputs))
        ]
        return torch.stack(losses)

    def importance(self, scores: Mapping[str, Scores]) -> list[Record]:
        """A record per head and order, layers from 1, heads from 0."""
        return [
            self.record(f"head_{head:02d}", order, "importance", float(value), layer=index)
            for order, layers in scores.items()
            for index, layer in enumerate(layers, 1)
            for head, value in enumerate(layer)
        ]

    def curve(self, order: str, scores: Scores, *, steps: int) -> list[Record]:
        """Loss and share of right answers against heads removed, the least important first."""
        places = [(layer, head) for layer, count in enumerate(self._body.heads) for head in range(count)]
        rank = sorted(places, key=lambda place: (scores[place[0]][place[1]], place))
        points = []
        sizes = sorted({round(len(rank) * step / steps) for step in range(steps + 1)})
        for removed in track(sizes, f"taking out heads by {order}", len(sizes)):
            losses, right = self._without(set(rank[:removed]))
            detail = {"removed": removed, "share": removed / len(rank), "of": "task"}
            for metric, values in (("task_loss", losses), ("task_right", right)):
                if values is None:
                    continue
                low, high = mean_interval(values, seed=0, sample="task heads")
                points.append(
                    self.record(f"without_{removed:03d}_heads", order, metric, float(values.mean()), low=float(low),
                                high=float(high), detail=detail)
                )  # fmt: skip
        return points

    def _without(self, closed: set[tuple[int, int]]) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """(B,) losses, and whether each answer is right (None for numbers), with these heads closed."""
        gates = open_gates(self._body, {"heads"})
        assert gates.heads is not None
        for layer, head in closed:
            gates.heads[layer][head] = 0.0
        with torch.inference_mode(), gated(self.model.transformer, gates):
            outputs = outputs_of(self.model, self._fields[1], autocast=False)
        losses, right = [], []
        for output, one in zip(outputs, self._fields[1], strict=True):
            label = torch.from_numpy(np.asarray(one["label"])).unsqueeze(0)
            scores = torch.from_numpy(output).unsqueeze(0)
            losses.append(float(self._objective.of_outputs(scores, {"label": label}).total))
            if self.model.target == "single":
                right.append(float(int(scores.argmax(-1)) == int(label)))
            elif self.model.target == "multi":
                right.append(float(((scores > 0) == (label > 0)).all()))
        return np.array(losses), np.array(right) if right else None


def _padded(fields: Sequence[Mapping[str, Any]], pad_id: int) -> dict[str, Tensor]:

    return {name: torch.from_numpy(part) for name, part in pad_fields(fields, {"input_ids": pad_id}).items()}
