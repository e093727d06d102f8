"""The training loop: the only one of the project.

It takes a model, an objective, a loader and a configuration, and gives back a trained model, a metrics log and
checkpoints. It knows nothing of what is trained for what. Everything random depends on (seed, step) or (seed, epoch,
batch), never on a generator's past, so a run that was killed goes on from its last checkpoint to the same weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from slonik.core.errors import SlonikError
from slonik.core.progress import Bar, progress_bar
from slonik.core.seeds import derive_seed
from slonik.train.attention import fast_attention
from slonik.train.checkpoints import Checkpoint, Checkpoints, load_weights, read_checkpoint
from slonik.train.compiling import compiled_layers
from slonik.train.divergence import DivergenceGuard
from slonik.train.feed import Feed
from slonik.train.interruption import Interruption
from slonik.train.loss_scaling import LossScaling
from slonik.train.metrics_log import MetricsLog
from slonik.train.optimizers import Optimizers
from slonik.train.protocols import Batch, Loader, Objective
from slonik.train.run_state import Best, RunState, RunSummary, check_identity
from slonik.train.schedule import learning_rate_ratio
from slonik.train.step_record import StepRecord
from slonik.train.train_config import TrainConfig

Evaluate = Callable[[nn.Module], Mapping[str, float]]
OnBest = Callable[[nn.Module, int, Mapping[str, float]], None]


def run(
    model: nn.Module,
    objective: Objective,
    loader: Loader,
    config: TrainConfig,
    folder: Path,
    *,
    evaluate: Evaluate | None = None,
    on_best: OnBest | None = None,
    identity: Mapping[str, Any] | None = None,
) -> RunSummary:
    """Train `model` in place; the same call after a crash goes on where the last checkpoint was written.

    Args:
        model: left with the weights of the best evaluation (the last ones without `evaluate`), in eval mode.
        objective: gives the loss; if it is a module, its parameters are trained and saved along.
        loader: gives batches by (epoch, index).
        folder: for `checkpoints/` and `metrics.jsonl`; one run each.
        evaluate: held-out figures, called without gradient in eval mode at the start, every
            `config.evaluate_every_steps` and at the end; `config.best_metric` must be among them.
        on_best: called after each new best evaluation; again for the same step when a resumed run repeats it.
        identity: further facts (hash of the corpus, of the teacher) that must be equal to resume.

    Raises:
        SlonikError: the folder holds another run, damaged checkpoints, a full disk, a diverging loss, or the run was
            interrupted (after saving).
    """
    training = _Run(model, objective, loader, config, folder, evaluate, on_best, identity)
    try:
        return training.train()
    finally:
        training.log.close()
        training.optimizers.release()


class _Run:
    """One run: what `run` needs from one step to the next."""

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        loader: Loader,
        config: TrainConfig,
        folder: Path,
        evaluate: Evaluate | None,
        on_best: OnBest | None,
        identity: Mapping[str, Any] | None,
    ) -> None:
        # Precision is ours (torch.autocast): Accelerate keeps its own for the life of the process, and one
        # process may train several students with different ones.
        self.accelerator = Accelerator(cpu=config.device == "cpu", mixed_precision="no")
        if self.accelerator.num_processes > 1:
            raise SlonikError("training runs in one process: start it without torchrun or accelerate launch")
        self.device = self.accelerator.device
        self.model, self.objective, self.loader, self.config, self.folder = model, objective, loader, config, folder
        self.evaluate, self.on_best = evaluate, on_best
        self.modules = {"model": model.to(self.device)}
        if isinstance(objective, nn.Module):
            self.modules["objective"] = objective.to(self.device)
        self.optimizers = Optimizers(self.modules, config)
        self.checkpoints = Checkpoints(folder / "checkpoints", config.keep)
        self.checkpoints.sweep()
        self.state = RunState(identity={"config": config.identity(), "data": loader.fingerprint, **(identity or {})})
        found = self.checkpoints.latest()
        if found is not None:
            self._restore(found)
        self.resumed_from = self.state.step
        self.guard = DivergenceGuard(config.explosion_factor, self.state.guard)
        self.scaling = LossScaling(config.precision == "fp16", self.state.scaling)
        self.unsettled: list[StepRecord] = []
        self.log = MetricsLog(folder / "metrics.jsonl", self.state.step)
        self.started = time.perf_counter() - self.state.seconds
        self.saved = time.perf_counter()

    def train(self) -> RunSummary:
        """Step until the end, then put the best weights back."""
        config, state = self.config, self.state
        total = config.max_steps or (config.max_minutes or 0) * 60
        done = state.step if config.max_steps else state.seconds
        feed = Feed(self.loader, state.epoch, state.index, pin=self.device.type == "cuda")
        attention = fast_attention(self.model, self.device, bf16=config.precision == "bf16")
        layers = compiled_layers(self.model, on=config.compile)
        bar_of_steps = progress_bar("train", total, completed=done)
        with feed, attention, layers, Interruption() as interruption, bar_of_steps as bar:
            if state.step == 0:
                self._evaluate()
            self._train_mode(True)
            ended = self._finished()
            while not ended:
                self._report(self._step(feed), bar)
                ended = self._finished()  # kept until saving: the clock may not end a run without its evaluation
                if ended or state.step % config.evaluate_every_steps == 0:
                    self._evaluate()
                    ended = ended or self._finished()  # patience
                interrupted = interruption.requested and not ended
                if ended or interrupted or time.perf_counter() - self.saved >= config.save_every_minutes * 60:
                    self._save()
                if interrupted:
                    raise SlonikError(
                        f"interrupted at step {state.step}; it is saved: run the same command again to go on"
                    )
        return self._finish()

    def _step(self, feed: Feed) -> StepRecord:
        """One optimizer step over `accumulate` batches."""
        config, state = self.config, self.state
        torch.manual_seed(derive_seed(config.seed, "step", state.step))  # dropout of this step, whatever came before
        ratio = learning_rate_ratio(self._progress(), config.schedule, config.warmup_ratio, config.final_ratio)
        record = StepRecord(state.step + 1, self.optimizers.set_ratio(ratio), self._seconds())
        for _ in range(config.accumulate):
            place, batch = next(feed)
            record.add_data(str(place), *_size(batch))
            on_device = {name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.items()}
            with self._autocast():
                loss = self.objective.loss(self.model, on_device)
            # Means over unequal batches are weighted by their items; one batch needs no weight.
            factor = self.scaling.factor * (loss.weight if config.accumulate > 1 else 1.0)
            self.accelerator.backward(loss.total * factor if factor != 1.0 else loss.total)
            record.add_loss(loss.total.detach(), loss.parts, loss.weight)
        shrink = self.scaling.factor * (record.weight if config.accumulate > 1 else 1.0)
        if shrink != 1.0:
            self.optimizers.scale_gradients(1.0 / shrink)
        record.norm = self.optimizers.clip(config.clip_norm)
        record.skipped = config.precision == "fp16" and not self.scaling.accepts(float(record.norm), record.step)
        self.unsettled.append(record)
        if self.device.type == "cpu":
            self._settle()  # before the update: a loss that is no number must not reach the weights
        if record.skipped:
            self.optimizers.forget()
        else:
            self.optimizers.step()
        state.step, state.tokens, state.texts = record.step, state.tokens + record.tokens, state.texts + record.texts
        state.epoch, state.index = feed.position
        return record

    def _settle(self) -> None:
        """Read the losses of the steps since the last call (an accelerator is not waited for at every step)."""
        for record in self.unsettled:
            # A gradient that overflowed fp16 is not a fault of the run; a loss that is no number is one.
            norm = 0.0 if record.skipped else float(record.norm)
            self.guard.check(record.step, record.loss(), norm, record.where)
        self.unsettled = []

    def _report(self, record: StepRecord, bar: Bar) -> None:
        due = record.step % self.config.log_every_steps == 0
        if due:
            self._settle()
        spent = max(self._seconds() - record.started, 1e-9)
        figures = {"loss": f"{self.guard.smoothed:.4f}", "speed": f"{record.texts / spent:.0f} texts/s"}
        bar.advance(1 if self.config.max_steps else spent, **figures)
        if due:
            self.log.write({**record.figures(spent), "epoch": self.state.epoch, "seconds": round(self._seconds(), 2)})

    def _evaluate(self) -> None:
        """Held-out figures; keep the weights where they are the best so far."""
        if self.evaluate is None:
            return
        self._settle()
        self._train_mode(False)
        with torch.no_grad():
            figures = {name: float(value) for name, value in self.evaluate(self.model).items()}
        self._train_mode(True)
        metric = self.config.best_metric
        if metric not in figures:
            raise SlonikError(f"best_metric is {metric!r}, the evaluation gives {', '.join(sorted(figures))}")
        step, best = self.state.step, self.state.best
        self.log.write({"step": step, "evaluation": figures, "seconds": round(self._seconds(), 2)})
        sign = 1 if self.config.higher_is_better else -1
        self.state.stale += 1
        if best is None or sign * figures[metric] > sign * best.value:
            self.state.stale = 0
            made = self.checkpoints.save_best(step, {"model": self.model.state_dict()}, {"step": step, **figures})
            self.state.best = Best(step, figures[metric], figures, made.name)
            if self.on_best is not None:
                self.on_best(self.model, step, figures)

    def _save(self) -> None:
        self._settle()
        self.state.seconds, self.state.guard = self._seconds(), self.guard.state
        self.state.scaling = self.scaling.state
        tensors = {name: module.state_dict() for name, module in self.modules.items()}
        tensors["optimizer"] = self.optimizers.tensors()
        self.log.sync()
        self.checkpoints.save(self.state.step, tensors, self.state.to_json())
        self.saved = time.perf_counter()

    def _restore(self, checkpoint: Checkpoint) -> None:
        saved = RunState.from_json(checkpoint.state)
        check_identity(saved.identity, self.state.identity, self.folder)
        for name, module in self.modules.items():
            load_weights(module, checkpoint.tensors.get(name, {}), checkpoint.folder)
        self.optimizers.load_tensors(checkpoint.tensors["optimizer"])
        self.state = saved

    def _finish(self) -> RunSummary:
        state, weights = self.state, None
        if state.best is not None:
            folder = self.folder / "checkpoints" / state.best.folder
            load_weights(self.model, read_checkpoint(folder).tensors["model"], folder)
            weights = folder / "model.safetensors"
        self._train_mode(False)
        counts = (state.step, state.epoch, self.resumed_from, state.seconds, state.tokens, state.texts)
        return RunSummary(*counts, self.guard.smoothed, state.best, weights, self.folder / "metrics.jsonl")

    def _train_mode(self, on: bool) -> None:
        for module in self.modules.values():
            module.train(on)

    def _seconds(self) -> float:
        return time.perf_counter() - self.started

    def _progress(self) -> float:
        """Share of the run done in the middle of the step at hand; by the clock only without a number of steps."""
        if self.config.max_steps:
            return (self.state.step + 0.5) / self.config.max_steps
        return min(1.0, self._seconds() / ((self.config.max_minutes or 1.0) * 60))

    def _finished(self) -> bool:
        config, state = self.config, self.state
        over = config.max_minutes is not None and self._seconds() >= config.max_minutes * 60
        stale = config.patience is not None and state.stale >= config.patience
        return over or stale or (config.max_steps is not None and state.step >= config.max_steps)

    def _autocast(self) -> torch.autocast:
        kind = torch.float16 if self.config.precision == "fp16" else torch.bfloat16
        return torch.autocast(self.device.type, kind, enabled=self.config.precision != "fp32")


def _size(batch: Batch) -> tuple[int, int]:
    """Texts and real tokens of a batch."""
    ids = batch["input_ids"]
    mask = batch.get("attention_mask")
    return len(ids), int(mask.sum()) if mask is not None else ids.numel()
