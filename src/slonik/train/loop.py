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
from torch import Tensor, nn

from slonik.core.errors import SlonikError
from slonik.core.progress import progress_bar
from slonik.core.seeds import derive_seed
from slonik.train.checkpoints import Checkpoint, Checkpoints, read_checkpoint
from slonik.train.divergence import DivergenceGuard
from slonik.train.feed import Feed
from slonik.train.interruption import Interruption
from slonik.train.metrics_log import MetricsLog
from slonik.train.optimizers import Optimizers
from slonik.train.protocols import Batch, Loader, Objective
from slonik.train.run_state import Best, RunState, RunSummary, check_identity
from slonik.train.schedule import learning_rate_ratio
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
    return _Run(model, objective, loader, config, folder, evaluate, on_best, identity).train()


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
        self.log = MetricsLog(folder / "metrics.jsonl", self.state.step)
        self.started = time.perf_counter() - self.state.seconds
        self.saved = time.perf_counter()

    def train(self) -> RunSummary:
        """Step until the end, then put the best weights back."""
        config, state = self.config, self.state
        total = config.max_steps or (config.max_minutes or 0) * 60
        done = state.step if config.max_steps else state.seconds
        feed = Feed(self.loader, state.epoch, state.index)
        with feed, Interruption() as interruption, progress_bar("train", total, completed=done) as bar:
            if state.step == 0:
                self._evaluate()
            self._train_mode(True)
            while not self._finished():
                before, texts = self._seconds(), state.texts
                figures = self._step(feed)
                spent = max(self._seconds() - before, 1e-9)
                speed = f"{(state.texts - texts) / spent:.0f} texts/s"
                bar.advance(1 if config.max_steps else spent, loss=f"{self.guard.smoothed:.4f}", speed=speed)
                if state.step % config.log_every_steps == 0:
                    figures["tokens_per_second"] = round(figures.pop("tokens") / spent)
                    self.log.write(figures)
                ended = self._finished() or interruption.requested
                if state.step % config.evaluate_every_steps == 0 or self._finished():
                    self._evaluate()
                if ended or time.perf_counter() - self.saved >= config.save_every_minutes * 60:
                    self._save(feed)
                if interruption.requested and not self._finished():
                    raise SlonikError(
                        f"interrupted at step {state.step}; it is saved: run the same command again to go on"
                    )
        return self._finish()

    def _step(self, feed: Feed) -> dict[str, Any]:
        """One optimizer step over `accumulate` batches; figures for the log."""
        config, state = self.config, self.state
        torch.manual_seed(derive_seed(config.seed, "step", state.step))  # dropout of this step, whatever came before
        rate = self.optimizers.set_ratio(
            learning_rate_ratio(self._progress(), config.schedule, config.warmup_ratio, config.final_ratio)
        )
        weight, total, parts, places, tokens = 0.0, 0.0, dict[str, float](), [], 0
        for _ in range(config.accumulate):
            place, batch = next(feed)
            texts, real = _size(batch)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
                loss = self.objective.loss(self.model, {k: v.to(self.device) for k, v in batch.items()})
            self.accelerator.backward(loss.total * loss.weight)
            weight += loss.weight
            total += float(loss.total.detach()) * loss.weight
            for name, part in loss.parts.items():
                parts[name] = parts.get(name, 0.0) + float(part) * loss.weight
            places.append(str(place))
            state.texts, tokens = state.texts + texts, tokens + real
        self.optimizers.scale_gradients(1.0 / weight)
        norm = float(self.optimizers.clip(config.clip_norm))
        self.guard.check(state.step + 1, total / weight, norm, "; ".join(places))
        self.optimizers.step()
        state.step, state.tokens = state.step + 1, state.tokens + tokens
        state.epoch, state.index = feed.position
        figures = {"step": state.step, "epoch": state.epoch, "loss": total / weight, "learning_rate": rate}
        figures |= {f"loss.{name}": value / weight for name, value in parts.items()}
        return figures | {"gradient_norm": norm, "seconds": round(self._seconds(), 2), "tokens": tokens}

    def _evaluate(self) -> None:
        """Held-out figures; keep the weights where they are the best so far."""
        if self.evaluate is None:
            return
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
        if best is None or sign * figures[metric] > sign * best.value:
            made = self.checkpoints.save_best(step, {"model": self.model.state_dict()}, {"step": step, **figures})
            self.state.best = Best(step, figures[metric], figures, made.name)
            if self.on_best is not None:
                self.on_best(self.model, step, figures)

    def _save(self, feed: Feed) -> None:
        self.state.seconds, self.state.guard = self._seconds(), self.guard.state
        tensors = {name: module.state_dict() for name, module in self.modules.items()}
        self.log.sync()
        self.checkpoints.save(
            self.state.step, {**tensors, "optimizer": self.optimizers.tensors()}, self.state.to_json()
        )
        self.saved = time.perf_counter()

    def _restore(self, checkpoint: Checkpoint) -> None:
        saved = RunState.from_json(checkpoint.state)
        check_identity(saved.identity, self.state.identity, self.folder)
        for name, module in self.modules.items():
            _load_weights(module, checkpoint.tensors.get(name, {}), checkpoint.folder)
        self.optimizers.load_tensors(checkpoint.tensors["optimizer"])
        self.state = saved

    def _finish(self) -> RunSummary:
        self.log.close()
        state, weights = self.state, None
        if state.best is not None:
            folder = self.folder / "checkpoints" / state.best.folder
            _load_weights(self.model, read_checkpoint(folder).tensors["model"], folder)
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
        if self.config.max_steps:
            return (self.state.step + 0.5) / self.config.max_steps
        return min(1.0, self._seconds() / ((self.config.max_minutes or 1.0) * 60))

    def _finished(self) -> bool:
        over = self.config.max_minutes is not None and self._seconds() >= self.config.max_minutes * 60
        return over or (self.config.max_steps is not None and self.state.step >= self.config.max_steps)


def _size(batch: Batch) -> tuple[int, int]:
    """Texts and real tokens of a batch."""
    ids = batch["input_ids"]
    mask = batch.get("attention_mask")
    return len(ids), int(mask.sum()) if mask is not None else ids.numel()


def _load_weights(module: nn.Module, tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Load weights; names left out because they share memory with others are allowed to be missing.

    Raises:
        SlonikError: the weights belong to another model.
    """
    own = module.state_dict()
    saved = {tensor.data_ptr() for name, tensor in own.items() if name in tensors}
    lost = [name for name, tensor in own.items() if name not in tensors and tensor.data_ptr() not in saved]
    wrong = [name for name, tensor in tensors.items() if name not in own or own[name].shape != tensor.shape]
    if lost or wrong:
        raise SlonikError(f"the weights in {folder} belong to another model (first difference: {(lost + wrong)[0]})")
    module.load_state_dict(tensors, strict=False)
