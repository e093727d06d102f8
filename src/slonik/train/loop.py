"""The training loop: the only one of the project.

It takes a model, an objective, a loader and a configuration, and gives back a trained model, a metrics log and
checkpoints. It knows nothing of what is trained for what. Everything random depends on (seed, step) or (seed, epoch,
batch), never on a generator's past, so a run that was killed goes on from its last checkpoint to the same weights.
Started by torchrun or accelerate launch it runs in several processes: W processes with `accumulate` A make the steps
of one process with `accumulate` W x A. A run keeps these steps when it goes on with another number of processes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from slonik.core.errors import Interrupted, SlonikError
from slonik.core.hashing import derive_seed
from slonik.core.progress import Bar, progress_bar
from slonik.models.precision import autocast, precision_on
from slonik.train.averaging import Averages
from slonik.train.checkpoints import Checkpoints, read_checkpoint
from slonik.train.feed import Feed, check_disjoint
from slonik.train.guards import DivergenceGuard, Interruption, check_scale, loss_scaler
from slonik.train.kernels import compiled_layers, fast_attention, fast_products, recomputed_layers
from slonik.train.optimizers import EmbeddingTables, Optimizers, learning_rate_ratio
from slonik.train.processes import Processes, Wrapped, load_parts
from slonik.train.protocols import Batch, Loader, Loss, Objective
from slonik.train.resuming import (
    check_rows,
    find,
    fresh_state,
    read_rest,
    read_weights,
    saved_state,
    with_precision,
)
from slonik.train.run_log import RunLog
from slonik.train.run_state import Best, RunSummary, StepRecord
from slonik.train.saving import Saver, own_tensors
from slonik.train.train_config import TrainConfig
from slonik.train.watch import Watch

Evaluate = Callable[[nn.Module], Mapping[str, float]]
OnBest = Callable[[nn.Module, int, Mapping[str, float]], None]
Sample = Callable[[nn.Module], Sequence[str]]


def run(
    model: nn.Module,
    objective: Objective,
    loader: Loader,
    config: TrainConfig,
    folder: Path,
    *,
    evaluate: Evaluate | None = None,
    on_best: OnBest | None = None,
    on_evaluated: OnBest | None = None,
    sample: Sample | None = None,
    identity: Mapping[str, Any] | None = None,
    flops_per_token: float | None = None,
) -> RunSummary:
    """Train `model` in place; the same call after a crash goes on where the last checkpoint was written.

    Args:
        model: left with the weights of the best evaluation (the last ones without `evaluate`), in eval mode; with
            `config.sharding` its parameters stay in parts, and the whole ones are in `RunSummary.weights`.
        objective: gives the loss; if it is a module, its parameters are trained and saved along.
        loader: gives batches by (epoch, index).
        folder: for `checkpoints/` and `metrics.jsonl`; one run each. Several processes share it; the first writes.
        evaluate: held-out metrics, called without gradient in eval mode at the start, every
            `config.evaluate_every_steps` and at the end, in every process; the first one's metrics count.
            `config.best_metric` must be among them.
        on_best: called in the first process after each new best evaluation; again for the same step when a resumed
            run repeats it.
        on_evaluated: the same after every evaluation.
        sample: texts for the log, made by the model at each evaluation.
        identity: further facts (hash of the corpus, of the teacher) that must be equal to resume.
        flops_per_token: FLOPs of forward and backward pass for one token of `input_ids` (padding not counted), for the
            utilisation in the log.

    Raises:
        SlonikError: the folder holds another run, damaged checkpoints, a full disk, a diverging loss, processes that
            read the same data; averaged weights without an evaluation.
        Interrupted: a signal ended the run, which is saved.
        Lost: another process is gone, or a batch did not come in time.
    """
    training = _Run(model, objective, loader, config, folder, identity or {}, flops_per_token)
    training.evaluate, training.on_best, training.sample = evaluate, on_best, sample
    training.on_evaluated = on_evaluated
    if config.averaging is not None and evaluate is None:
        raise SlonikError("averaging is of the weights that an evaluation measures, and this run has none")
    # Signals are only noted until everything is closed: a launcher sends some as soon as one of its processes is gone.
    with training.interruption, training.watch:
        try:
            return training.train()
        finally:
            training.saver.close()
            training.log.close()
            training.tables.release()


class _Run:
    """One run: what `run` needs from one step to the next."""

    evaluate: Evaluate | None = None
    on_best: OnBest | None = None
    on_evaluated: OnBest | None = None
    sample: Sample | None = None

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        loader: Loader,
        config: TrainConfig,
        folder: Path,
        identity: Mapping[str, Any],
        flops_per_token: float | None,
    ) -> None:
        # Precision is ours (torch.autocast): Accelerate keeps its own for the life of the process, and one
        # process may train several students with different ones.
        self.processes = Processes(config.device)
        self.device, world = self.processes.device, self.processes.world
        if world > 1 and config.max_steps is None:
            raise SlonikError("several processes need max_steps: by the clock each would end at another step")
        self.model, self.objective, self.loader, self.folder = model, objective, loader, folder
        self.modules = {"model": model.to(self.device)}
        if isinstance(objective, nn.Module):
            self.modules["objective"] = objective.to(self.device)
        self.checkpoints = Checkpoints(folder / "checkpoints", config.keep)
        found = find(self.processes, self.checkpoints, folder)
        self.averages = None if config.averaging is None else Averages(model, config.averaging)
        self.kept = self.modules if self.averages is None else {**self.modules, "averages": self.averages}
        self.config = config = with_precision(config, found, self.processes, self.device, folder)
        self.precision = precision_on(self.device, config.precision)
        identity = {"config": config.identity(), "data": loader.fingerprint, **identity}
        if found is None:
            self.state = fresh_state(self.modules, config, identity, self.processes, folder)
        else:
            self.state = saved_state(found, config, identity, world, folder)
            read_weights(found, self.kept)
        check_rows(self.state, world, folder)
        check_disjoint(self.processes, loader, self.state.epoch, self.state.index, self.state.batches)
        self.tables = EmbeddingTables(self.modules, config, self.state.rows)
        sharded = config.sharding == "full"
        self.wrapped = Wrapped(self.processes, self.modules, sharded=sharded)
        in_parts = sharded and world > 1
        self.optimizers = Optimizers(self.modules, config, self.tables, self.processes.sum if in_parts else None)
        in_shards = in_parts if config.checkpoints == "auto" else config.checkpoints == "sharded"
        self.saver = Saver(self.checkpoints, self.processes, sharded=in_shards)
        if found is not None:
            read_rest(found, self.kept, self.optimizers, self.saver.group)
        self.resumed_from = self.state.step
        self.guard = DivergenceGuard(config.explosion_factor, self.state.guard)
        self.scaler = loss_scaler(self.device, enabled=config.precision == "fp16", saved=self.state.scaling)
        self.unsettled: list[StepRecord] = []
        self.parts: list[str] = []
        self.shown: dict[str, object] = {}  # beside the progress bar
        self.log = RunLog(self.processes, folder, config, self.state.step, flops_per_token)
        if self.state.step == 0:
            chooses = {"best_metric": config.best_metric, "higher_is_better": config.higher_is_better}
            self.log.write({"step": 0, "precision": config.precision, "device": str(self.device), **chooses})
        self.watch = Watch(folder, self.processes.rank, world, config.timeout_minutes)
        self.interruption = Interruption()
        self.started = time.perf_counter() - self.state.seconds
        self.saved = time.perf_counter()
        self.evaluated = self.state.seconds

    def train(self) -> RunSummary:
        """Step until the end, then put the best weights back."""
        try:
            return self._train()
        except RuntimeError as error:
            if (lost := self.watch.lost(error)) is None:
                raise
            raise lost from error
        finally:
            self.watch.now("finishing", self.state.step)

    def _train(self) -> RunSummary:
        config, state, processes = self.config, self.state, self.processes
        total = config.max_steps or (config.max_minutes or 0) * 60
        done = state.step if config.max_steps else state.seconds
        pin = self.device.type == "cuda"
        feed = Feed(
            self.loader, state.epoch, state.index, batches=state.batches, rank=processes.rank, world=processes.world,
            pin=pin, patience=config.timeout_minutes * 60, processes=config.loader_processes,
        )  # fmt: skip
        bar_of_steps = progress_bar("train", total, completed=done)
        with feed, self._kernels(), bar_of_steps as bar:
            if state.step == 0:
                self._evaluate()
            self._train_mode(True)
            ended = self._finished()
            while not ended:
                self._report(self._step(feed), bar)
                ended = self._finished()  # kept until saving: the clock may not end a run without its evaluation
                if ended or self._evaluation_is_due():
                    self._evaluate()
                    ended = ended or self._finished()  # patience
                interrupted = self._agreed(self.interruption.requested)
                due = time.perf_counter() - self.saved >= config.save_every_minutes * 60
                if ended or interrupted or self._agreed(due):
                    self._save()
                if interrupted:
                    self._written()
                    raise Interrupted(
                        f"interrupted at step {state.step}; it is saved: run the same command again to go on"
                    )
        return self._finish()

    @contextmanager
    def _kernels(self) -> Iterator[None]:
        """What layers run on as long as the run goes."""
        config, model = self.config, self.model
        half = config.precision == "bf16"
        with (
            fast_attention(model, self.device, bf16=half, flex=config.attention == "flex", drops=config.dropout),
            fast_products(self.device, exact=config.precision == "fp32"),
            recomputed_layers(model, on=config.gradient_checkpointing),
            compiled_layers(model, on=config.compile),
        ):
            yield

    def _step(self, feed: Feed) -> StepRecord:
        """One optimizer step over the batches of a step, this process's share of them here."""
        config, state, world = self.config, self.state, self.processes.world
        ratio = learning_rate_ratio(self._progress(), config.schedule, config.warmup, config.final_ratio, config.decay)
        record = StepRecord(state.step + 1, self.optimizers.set_ratio(ratio), self._seconds())
        one_batch = state.batches * world == 1
        for last in range(feed.rounds, 0, -1):
            self.watch.now("reading data", record.step)
            turn = next(feed)
            self.watch.now("computing", record.step)
            # Dropout of this batch, whatever came before and in whichever process.
            torch.manual_seed(derive_seed(config.seed, "step", state.step, *((turn.number,) if turn.number else ())))
            on_device = {name: tensor.to(self.device, non_blocking=True) for name, tensor in turn.batch.items()}
            with self.wrapped.gradients(averaged=last == 1):
                total, loss = self._loss(on_device)
                # Means over unequal batches are weighted by their items; one batch needs no weight.
                weight = loss.weight if turn.counts else 0.0
                self.processes.accelerator.backward(self.scaler.scale(total if one_batch else total * weight))
            if turn.counts:
                record.add_data(str(turn.place), *_size(turn.batch))
                record.add_loss(loss.total.detach(), loss.parts, loss.weight)
        self.watch.now("exchanging", record.step)
        if world > 1:
            self._merge(record)
        # torch's scaler asks an optimizer for its groups and its step; ours is several as one, left out together.
        self.scaler.unscale_(self.optimizers)  # type: ignore[arg-type]
        if not one_batch:  # the processes' gradients are averaged already: their sum is `world` times that
            self.optimizers.scale_gradients(world / record.weight)
        record.norm = self.optimizers.clip(config.clip_norm)
        record.skipped = self.scaler.is_enabled() and not math.isfinite(record.norm)
        self.unsettled.append(record)
        state.step = record.step
        state.epoch, state.index = feed.position
        if self.device.type == "cpu":
            self._settle()  # before the update: a loss that is no number must not reach the weights
        self.scaler.step(self.optimizers)  # type: ignore[arg-type]
        self.scaler.update()
        if record.skipped:
            self.optimizers.forget()
            check_scale(self.scaler, record.step)
        elif self.averages is not None:
            self.averages.update_parameters(self.model)
        return record

    def _merge(self, record: StepRecord) -> None:
        """Add up the step over the processes; the parts of the loss are those of the first step of any process."""
        if not self.parts:
            self.parts = sorted({name for names in self.processes.gather(record.names) for name in names})
        record.merge(self.processes.sum, self.parts, self.device)

    def _loss(self, batch: Batch) -> tuple[Tensor, Loss]:
        def work() -> tuple[Tensor, Loss]:
            with autocast(self.device, self.precision):
                loss = self.objective.loss(self.model, batch)
            return loss.total, loss

        return self.wrapped.training(work)

    def _settle(self) -> None:
        """Read the metrics of the steps since the last call (an accelerator is not waited for at every step)."""
        for record in self.unsettled:
            # A gradient that overflowed fp16 is not a fault of the run; a loss that is no number is one.
            norm = 0.0 if record.skipped else float(record.norm)
            self.guard.check(record.step, record.loss(), norm, record.where)
            self.log.count(record)
            self.state.tokens += record.tokens
            self.state.texts += record.texts
        self.unsettled = []

    def _report(self, record: StepRecord, bar: Bar) -> None:
        due = record.step % self.config.log_every_steps == 0
        if due:
            self._settle()
        spent = max(self._seconds() - record.started, 1e-9)
        self.log.spend(spent)
        if not self.config.max_steps:
            self.shown["step"] = record.step  # the bar counts seconds
        if not self.unsettled:
            self.shown |= {"loss": f"{self.guard.smoothed:.4f}", "speed": self.log.speed}
        bar.advance(1 if self.config.max_steps else spent, **self.shown)
        if due:
            self.log.step(record, {"epoch": self.state.epoch, "seconds": round(self._seconds(), 2)})

    def _evaluate(self) -> None:
        """Held-out metrics of the model, or of its average; keep the weights where they are the best so far."""
        if self.evaluate is None:
            return
        self._settle()
        with self.averages.worn(self.model) if self.averages is not None else nullcontext():
            self._measure(self.evaluate)
        self.processes.wait()

    def _measure(self, evaluate: Evaluate) -> None:
        self.watch.now("evaluating", self.state.step)
        metrics, samples = self._held_out(evaluate)
        metric, step, best = self.config.best_metric, self.state.step, self.state.best
        if metric not in metrics:
            raise SlonikError(f"best_metric is {metric!r}, the evaluation gives {', '.join(sorted(metrics))}")
        line: dict[str, Any] = {"step": step, "evaluation": metrics, "seconds": round(self._seconds(), 2)}
        self.log.write({**line, "samples": samples} if samples else line)
        sign = 1 if self.config.higher_is_better else -1
        self.state.stale += 1
        if best is None or sign * metrics[metric] > sign * best.value:
            self.state.stale = 0
            name = self.saver.save_best(step, {"model": own_tensors(self.model)}, {"step": step, **metrics})
            self.state.best = Best(step, metrics[metric], metrics, name)
            if self.on_best is not None and self.processes.main:
                self.on_best(self.model, step, metrics)
        if self.on_evaluated is not None and self.processes.main:
            self.on_evaluated(self.model, step, metrics)
        self.evaluated = self._seconds()  # its end: one may take longer than the time between two

    def _held_out(self, evaluate: Evaluate) -> tuple[dict[str, float], list[str]]:
        self._train_mode(False)

        def work() -> tuple[dict[str, float], list[str]]:
            metrics = {name: float(value) for name, value in evaluate(self.model).items()}
            return metrics, list(self.sample(self.model)) if self.sample is not None else []

        with torch.no_grad():
            found = self.wrapped.watching(work)
        self._train_mode(True)
        return self.processes.from_main(found)

    def _save(self) -> None:
        """Begin a checkpoint; the log says how long the training waited for that."""
        self.watch.now("saving", self.state.step)
        self._settle()
        self.state.seconds, self.state.guard = self._seconds(), self.guard.state
        self.state.scaling = self.scaler.state_dict()
        began = time.perf_counter()
        self.log.sync()
        parts = {name: own_tensors(module) for name, module in self.kept.items()}
        self.saver.save(self.state.step, {**parts, "optimizer": self.optimizers.tensors()}, self.state.to_json())
        self.saved = time.perf_counter()
        self.log.write({"step": self.state.step, "save_seconds": round(self.saved - began, 3)})

    def _written(self) -> None:
        """Wait until the last checkpoint is on disk, for all processes."""
        self.saver.settle()
        self.processes.wait()

    def _finish(self) -> RunSummary:
        state, config = self.state, self.config
        self._written()
        last = self.checkpoints.path(state.step)
        if state.best is not None:
            last = last.with_name(state.best.folder)
        weights = self.saver.whole_weights(last)
        if state.best is not None:
            load_parts(self.model, read_checkpoint(weights.parent).tensors["model"])
        self._train_mode(False)
        counts = (state.step, state.epoch, self.resumed_from, state.seconds, state.tokens, state.texts)
        best_weights = weights if state.best is not None else None
        metrics = self.folder / "metrics.jsonl"
        return RunSummary(*counts, self.guard.smoothed, state.best, best_weights, weights, metrics, config.precision)

    def _train_mode(self, on: bool) -> None:
        # Nothing but dropout differs between the modes of a transformer (no batch statistics).
        for module in self.modules.values():
            module.train(on and self.config.dropout)

    def _evaluation_is_due(self) -> bool:
        minutes = self.config.evaluate_every_minutes
        if minutes is None:
            return self.state.step % self.config.evaluate_every_steps == 0
        return self._seconds() - self.evaluated >= minutes * 60

    def _seconds(self) -> float:
        return time.perf_counter() - self.started

    def _progress(self) -> float:
        """Share of the run done in the middle of the step at hand; by the clock only without a number of steps."""
        if self.config.max_steps:
            return (self.state.step + 0.5) / self.config.max_steps
        return min(1.0, self._seconds() / ((self.config.max_minutes or 1.0) * 60))

    def _finished(self) -> bool:
        config, state = self.config, self.state
        over = config.max_minutes is not None and self._agreed(self._seconds() >= config.max_minutes * 60)
        stale = config.patience is not None and state.stale >= config.patience
        return over or stale or (config.max_steps is not None and state.step >= config.max_steps)

    def _agreed(self, flag: bool) -> bool:
        """Whether any process says so; asked now and then only where asking would wait for an accelerator."""
        if self.device.type == "cpu" or self.state.step % self.config.log_every_steps == 0:
            return self.processes.any(flag)
        return flag and self.processes.world == 1


def _size(batch: Batch) -> tuple[int, int]:
    """Texts and real tokens of a batch."""
    ids = batch["input_ids"]
    mask = batch.get("attention_mask")
    return len(ids), int(mask.sum()) if mask is not None else ids.numel()
