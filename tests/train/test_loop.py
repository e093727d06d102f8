"""The loop: resume after kill -9 to the same weights, accumulation, best checkpoint, refusals."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from slonik.compression.objective import Distillation, DistillationTerms
from slonik.core import progress
from slonik.core.config import build_config
from slonik.core.errors import Interrupted, SlonikError
from slonik.core.hashing import sha256_file
from slonik.train.loop import run
from slonik.train.processes import Processes
from slonik.train.protocols import Batch, IntArray, Loss
from slonik.train.run_log import read_metrics
from slonik.train.train_config import TrainConfig
from tests.together import forked
from tests.train import toy


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _checkpoints(folder: Path, prefix: str = "step_") -> list[Path]:
    return sorted((folder / "checkpoints").glob(f"{prefix}*"))


def _weights(folder: Path) -> dict[str, Tensor]:
    newest = _checkpoints(folder)[-1]
    return {
        f"{part}/{name}": tensor
        for part in ("model", "optimizer")
        for name, tensor in load_file(newest / f"{part}.safetensors").items()
    }


def _same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def _losses(folder: Path) -> list[tuple[int, float]]:
    return [(line["step"], line["loss"]) for line in read_metrics(folder / "metrics.jsonl") if "loss" in line]


def _evaluations(folder: Path) -> list[Any]:
    lines = read_metrics(folder / "metrics.jsonl")
    return [(line["step"], line["evaluation"]) for line in lines if "evaluation" in line]


class Crash(Exception):
    """Stands for a power cut in one process."""


def _at_call(number: int, action: Callable[[], None]) -> Callable[[], None]:
    """Does `action` when called the `number`-th time."""
    calls = iter(range(1, 1000))

    def called() -> None:
        if next(calls) == number:
            action()

    return called


def _crash() -> None:
    raise Crash


def test_killed_run_ends_with_the_weights_of_an_undisturbed_one(tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    fields = {"evaluate_every_steps": 1, "save_every_minutes": 0.0}
    process = forked(lambda: toy.train(killed, pause=0.15, **fields), tmp_path / "said")
    try:
        deadline = time.monotonic() + 240  # on a busy machine
        while not (killed / "checkpoints" / "step_00000004").exists():
            assert os.waitpid(process, os.WNOHANG) == (0, 0) and time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    summary = toy.train(killed, evaluate_every_steps=1)
    assert 4 <= summary.resumed_from < 12
    toy.train(whole, evaluate_every_steps=1)
    assert _same(_weights(killed), _weights(whole))
    assert _losses(killed) == _losses(whole)
    assert _evaluations(killed) == _evaluations(whole)
    assert [step for step, _ in _losses(killed)] == list(range(1, 13))


@pytest.mark.parametrize(
    "fields",
    [
        {"precision": "fp32", "embeddings": "dense"},
        {"precision": "bf16", "embeddings": "lazy", "accumulate": 2},
        {"precision": "bf16", "embeddings": "frozen", "schedule": "linear"},
        {"precision": "fp16", "accumulate": 2},
        {"optimizer": "adafactor", "schedule": "constant"},
        {"optimizer": "lamb", "learning_rate": 0.01},
        {"optimizer": "muon", "embeddings": "dense"},
        {"layer_decay": 0.8},
        {"averaging": 0.9},
    ],
    ids=[
        "fp32-dense",
        "bf16-lazy-accumulated",
        "frozen",
        "fp16",
        "adafactor",
        "lamb",
        "muon",
        "layer-decay",
        "averages",
    ],
)
def test_crashed_run_goes_on_to_the_same_weights(tmp_path: Path, fields: dict[str, Any]) -> None:
    toy.train(tmp_path / "whole", **fields)
    with pytest.raises(Crash):
        toy.train(tmp_path / "crashed", on_evaluate=_at_call(3, _crash), save_every_minutes=0.0, **fields)
    summary = toy.train(tmp_path / "crashed", **fields)
    assert summary.resumed_from == 7
    assert _same(_weights(tmp_path / "crashed"), _weights(tmp_path / "whole"))
    assert _losses(tmp_path / "crashed") == _losses(tmp_path / "whole")


def test_precision_is_chosen_once_and_a_run_that_goes_on_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("slonik.models.precision.fast_bf16", lambda _device: True)
    toy.train(tmp_path / "whole", precision="bf16")
    with pytest.raises(Crash):
        toy.train(tmp_path / "crashed", on_evaluate=_at_call(3, _crash), save_every_minutes=0.0, precision="auto")
    assert read_metrics(tmp_path / "crashed" / "metrics.jsonl")[0]["precision"] == "bf16"
    monkeypatch.setattr("slonik.models.precision.fast_bf16", lambda _device: False)
    summary = toy.train(tmp_path / "crashed", precision="auto")
    assert summary.precision == "bf16" and summary.resumed_from == 7
    assert _same(_weights(tmp_path / "crashed"), _weights(tmp_path / "whole"))
    assert "goes on with it; a new run on this machine would take fp32" in capsys.readouterr().err
    with pytest.raises(SlonikError, match=r"config\.precision = 'bf16', this one has 'fp32'"):
        toy.train(tmp_path / "crashed", precision="fp32")


def test_loss_falls_and_the_best_weights_are_put_back(tmp_path: Path) -> None:
    model = toy.student()
    summary = toy.train(tmp_path, model=model, max_steps=40, learning_rate=3e-3)
    losses = [loss for _, loss in _losses(tmp_path)]
    assert np.mean(losses[-8:]) < np.mean(losses[:8])
    assert summary.best is not None and summary.best_weights is not None
    assert summary.best.value == max(metrics["cosine"] for _, metrics in _evaluations(tmp_path))
    best = load_file(summary.best_weights)
    assert _same(best, dict(model.state_dict()))
    assert not model.training
    assert summary.step == 40 and summary.texts > 250 and summary.tokens > summary.texts


def test_lower_is_better_when_asked(tmp_path: Path) -> None:
    summary = toy.train(tmp_path, higher_is_better=False)
    assert summary.best is not None
    assert summary.best.value == min(metrics["cosine"] for _, metrics in _evaluations(tmp_path))


def test_patience_ends_a_run_after_so_many_evaluations_without_a_better_one(tmp_path: Path) -> None:
    # A loader of one batch and a metric that the training makes worse: the start stays the best.
    summary = toy.train(tmp_path, higher_is_better=False, patience=2, evaluate_every_steps=3, max_steps=60)
    assert summary.best is not None and summary.step == summary.best.step + 6 < 60
    again = toy.train(tmp_path, higher_is_better=False, patience=2, evaluate_every_steps=3, max_steps=60)
    assert again.step == again.resumed_from == summary.step


def test_without_dropout_a_run_is_that_of_a_model_that_has_none(tmp_path: Path) -> None:
    def weights(name: str, probability: float, **fields: bool) -> dict[str, Tensor]:
        model = toy.student()
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = probability
        toy.train(tmp_path / name, model=model, **fields)
        return _weights(tmp_path / name)

    none = weights("none", 0.0)
    assert _same(weights("off", 0.3, dropout=False), none)
    assert not _same(weights("on", 0.3), none)


def test_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    first = toy.train(tmp_path)
    again = toy.train(tmp_path)
    assert again.resumed_from == again.step == first.step == 12
    assert again.best == first.best
    assert len(_losses(tmp_path)) == 12


class _Squares:
    """A regression objective whose batches can be cut in any way; its loss is a mean over texts."""

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        total = (model(batch["x"]) - batch["y"]).square().mean()
        return Loss(total, {"squares": total.detach()}, weight=len(batch["x"]))


class _Cut:
    """Eight rows of data in batches of the given sizes."""

    fingerprint = "cut"

    def __init__(self, sizes: list[int], spoil: int | None = None) -> None:
        self._parts = np.split(np.arange(8), np.cumsum(sizes)[:-1])
        self._spoil = spoil

    def plan(self, epoch: int) -> list[IntArray]:
        return list(self._parts)

    def batch(self, epoch: int, index: int, texts: IntArray) -> Batch:
        rows = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))[torch.from_numpy(texts)]
        if self._spoil == (epoch, index):
            rows = rows * float("nan")
        return {"x": rows[:, :5], "y": rows[:, 5:], "input_ids": torch.ones(len(texts), 3)}


def _linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(5, 1)


@pytest.mark.parametrize("sizes", [[4, 4], [3, 5], [1, 1, 2, 4]])
def test_accumulated_batches_equal_one_large_batch(tmp_path: Path, sizes: list[int]) -> None:
    whole, cut = _linear(), _linear()
    fields = {"max_steps": 5, "precision": "fp32", "learning_rate": 0.01}
    run(whole, _Squares(), _Cut([8]), toy.config(**fields), tmp_path / "whole")
    run(cut, _Squares(), _Cut(sizes), toy.config(accumulate=len(sizes), **fields), tmp_path / "cut")
    for one, other in zip(whole.parameters(), cut.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    first, second = _losses(tmp_path / "whole"), _losses(tmp_path / "cut")
    assert [loss for _, loss in first] == pytest.approx([loss for _, loss in second], rel=1e-5)


def test_nan_stops_with_step_and_batch_before_it_reaches_the_weights(tmp_path: Path) -> None:
    model = _linear()
    with pytest.raises(SlonikError, match=r"nan at step 6, epoch 2, batch 1 \(texts 4, 5, 6, 7\)"):
        config = toy.config(precision="fp32", save_every_minutes=0.0)
        run(model, _Squares(), _Cut([4, 4], spoil=(2, 1)), config, tmp_path)
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    assert _checkpoints(tmp_path)[-1].name == "step_00000005"


def test_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path: Path) -> None:
    toy.train(tmp_path / "whole")
    toy.train(tmp_path / "run", save_every_minutes=0.0)
    newest = _checkpoints(tmp_path / "run")[-1]
    content = bytearray((newest / "model.safetensors").read_bytes())
    content[-5] ^= 1
    (newest / "model.safetensors").write_bytes(bytes(content))
    summary = toy.train(tmp_path / "run")
    assert summary.resumed_from == 11
    assert _same(_weights(tmp_path / "run"), _weights(tmp_path / "whole"))


def test_when_every_checkpoint_is_damaged_nothing_is_started_over(tmp_path: Path) -> None:
    toy.train(tmp_path)
    for folder in _checkpoints(tmp_path):
        (folder / "optimizer.safetensors").write_bytes(b"")
    with pytest.raises(SlonikError, match=r"every checkpoint in .* is damaged"):
        toy.train(tmp_path)


def test_old_checkpoints_go_and_the_best_weights_stay(tmp_path: Path) -> None:
    best = []
    toy.train(tmp_path, keep=3, save_every_minutes=0.0, on_best=lambda _model, step, _metrics: best.append(step))
    assert [folder.name for folder in _checkpoints(tmp_path)] == [f"step_{step:08d}" for step in (10, 11, 12)]
    assert f"best_{best[-1]:08d}" in [folder.name for folder in _checkpoints(tmp_path, "best_")]


def test_half_written_checkpoint_of_a_killed_run_is_swept(tmp_path: Path) -> None:
    toy.train(tmp_path)
    shutil.copytree(_checkpoints(tmp_path)[-1], tmp_path / "checkpoints" / ".slonik-tmp-1234-step_00000013")
    toy.train(tmp_path)
    assert not list((tmp_path / "checkpoints").glob(".*"))


def test_full_disk_stops_with_a_sentence_and_keeps_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.train(tmp_path / "whole")

    def full(source: Path, target: Path) -> None:
        if "step_00000006" in str(target):
            raise OSError(errno.ENOSPC, "No space left on device")
        rename(source, target)

    rename = Path.rename
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", full)
        with pytest.raises(SlonikError, match="no space left"):
            toy.train(tmp_path / "full", save_every_minutes=0.0)
    assert _checkpoints(tmp_path / "full")[-1].name == "step_00000005"
    toy.train(tmp_path / "full")
    assert _same(_weights(tmp_path / "full"), _weights(tmp_path / "whole"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [({"learning_rate": 0.5}, r"config.learning_rate = 0.001"), ({"max_steps": 99}, "config.max_steps = 12")],
)
def test_another_run_is_not_continued(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    toy.train(tmp_path)
    with pytest.raises(SlonikError, match=sentence):
        toy.train(tmp_path, **change)


def test_other_data_or_another_model_are_not_continued(tmp_path: Path) -> None:
    toy.train(tmp_path)
    with pytest.raises(SlonikError, match="belong to another model"):
        toy.train(tmp_path, model=toy.student(vocab_size=5000, layers=1))
    goal = toy.objective()
    with pytest.raises(SlonikError, match="data = "):
        run(toy.student(vocab_size=5000), goal, toy.loader(goal, max_texts=4), toy.config(), tmp_path)


def test_saving_more_often_does_not_change_what_may_be_continued(tmp_path: Path) -> None:
    toy.train(tmp_path)
    assert toy.train(tmp_path, save_every_minutes=9.0, keep=5, log_every_steps=3).resumed_from == 12


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1])
def test_interrupt_saves_and_says_how_to_go_on(tmp_path: Path, number: signal.Signals) -> None:
    interrupt = _at_call(2, lambda: signal.raise_signal(number))
    toy.train(tmp_path / "whole")
    with pytest.raises(Interrupted, match="interrupted at step 4; it is saved"):
        toy.train(tmp_path / "run", on_evaluate=interrupt)
    assert toy.train(tmp_path / "run").resumed_from == 4
    assert _same(_weights(tmp_path / "run"), _weights(tmp_path / "whole"))


def test_an_interrupt_in_the_last_step_is_heard_too(tmp_path: Path) -> None:
    toy.train(tmp_path / "whole")
    with pytest.raises(SlonikError, match="interrupted at step 12; it is saved"):
        toy.train(tmp_path / "run", on_evaluate=_at_call(4, lambda: signal.raise_signal(signal.SIGTERM)))
    assert toy.train(tmp_path / "run").resumed_from == 12
    assert _same(_weights(tmp_path / "run"), _weights(tmp_path / "whole"))


def test_minutes_end_a_run_and_drive_its_schedule(tmp_path: Path) -> None:
    summary = toy.train(tmp_path, max_steps=None, max_minutes=0.03, evaluate_every_steps=10_000)
    rates = [line["learning_rate"] for line in read_metrics(tmp_path / "metrics.jsonl") if "loss" in line]
    assert 1.8 <= summary.seconds < 30
    assert rates[-1] < max(rates)


def test_a_run_by_the_clock_is_looked_at_by_the_clock(tmp_path: Path) -> None:
    toy.train(tmp_path, max_steps=None, max_minutes=0.03, evaluate_every_minutes=0.01, evaluate_every_steps=1)
    looks = [line["seconds"] for line in read_metrics(tmp_path / "metrics.jsonl") if "evaluation" in line]
    assert len(looks) >= 2
    *before_the_end, _ = looks
    assert all(later - earlier >= 0.59 for earlier, later in pairwise(before_the_end))


def test_fp16_leaves_out_a_step_that_overflows_and_goes_on(tmp_path: Path) -> None:
    class Huge(_Squares):
        def loss(self, model: nn.Module, batch: Batch) -> Loss:
            found = super().loss(model, batch)
            return Loss(found.total * 1e3, found.parts, found.weight)

    model = _linear()
    run(model, Huge(), _Cut([4, 4]), toy.config(precision="fp16", learning_rate=0.01), tmp_path)
    lines = [line for line in read_metrics(tmp_path / "metrics.jsonl") if "loss" in line]
    skipped = [line["step"] for line in lines if line.get("skipped")]
    assert skipped and skipped[0] == 1 and skipped == list(range(1, len(skipped) + 1)) and len(skipped) < 12
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, r"train: 4/12 \(33 %\)  loss \d\.\d{4}  speed [\d,]+ texts/s, [\d,]+ tokens/s  .* spent, \d:\d\d left"),
        ({"max_steps": None, "max_minutes": 0.01}, r"train: \d/1 \(\d+ %\)  step \d+  loss \d\.\d{4}  speed .* left"),
    ],
    ids=["steps", "minutes"],
)
def test_a_log_gets_step_loss_speed_and_time_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fields: dict[str, Any], line: str
) -> None:
    toy.train(tmp_path / "silent")
    assert capsys.readouterr().err == ""
    with progress.shown("auto", seconds=1e-9):
        toy.train(tmp_path / "shown", **fields)
    assert re.search(line, capsys.readouterr().err)


def test_metric_that_the_evaluation_does_not_give_is_named(tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match="best_metric is 'accuracy', the evaluation gives cosine"):
        toy.train(tmp_path, best_metric="accuracy")


def test_heads_of_the_objective_are_trained_saved_and_restored(tmp_path: Path) -> None:
    def goal() -> Distillation:
        torch.manual_seed(1)
        teachers = {"teacher": 32, "again": 32}
        return Distillation(DistillationTerms(), pool=toy.mean_pool, pad_id=1, dimension=32, teachers=teachers)

    first = goal()
    before = {name: tensor.clone() for name, tensor in first.state_dict().items()}
    run(toy.student(), first, toy.loader(first, further=("again",)), toy.config(), tmp_path)
    assert not _same(before, first.state_dict())
    second = goal()
    run(toy.student(), second, toy.loader(second, further=("again",)), toy.config(), tmp_path)
    assert _same(first.state_dict(), second.state_dict())


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "give max_steps or max_minutes"),
        ({"max_steps": 0}, "'max_steps' is 0"),
        ({"max_steps": 1, "lerning_rate": 1}, "lerning_rate"),
        ({"max_steps": 1, "precision": "fp8"}, "'precision' is 'fp8'"),
        ({"max_steps": 1, "evaluate_every_minutes": 1}, "goes with max_minutes alone"),
        ({"max_steps": 1, "keep": 1}, "'keep' is 1"),
    ],
)
def test_bad_settings_are_named(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(SlonikError, match=sentence):
        build_config(TrainConfig, values)


def _rewrite(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the state of the newest checkpoint, as another version would have written it."""
    place = _checkpoints(folder)[-1]
    state = json.loads((place / "state.json").read_text(encoding="utf-8"))
    change(state)
    (place / "state.json").write_text(json.dumps(state), encoding="utf-8")
    manifest = json.loads((place / "manifest.json").read_text(encoding="utf-8"))
    manifest["state.json"] = sha256_file(place / "state.json")
    (place / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def test_a_checkpoint_of_the_version_before_goes_on_with_as_many_batches(tmp_path: Path) -> None:
    def as_before(state: dict[str, Any]) -> None:
        for name in ("format", "slonik", "batches", "rows"):
            del state[name]
        state["identity"]["processes"] = 2
        state["identity"]["config"]["accumulate"] = 1

    fields: dict[str, Any] = {"accumulate": 2, "embeddings": "dense", "save_every_minutes": 0.0}
    toy.train(tmp_path / "whole", **fields)
    with pytest.raises(Crash):
        toy.train(tmp_path / "run", **fields, on_evaluate=_at_call(3, _crash))
    _rewrite(tmp_path / "run", as_before)  # of two processes with a batch each
    summary = toy.train(tmp_path / "run", **fields)
    assert summary.resumed_from == 7
    assert _same(_weights(tmp_path / "run"), _weights(tmp_path / "whole"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": 9, "slonik": "7.1"}, r"is of format 9, written by slonik 7\.1; this one \(.*\) reads up to 2"),
        ({"colour": "grey"}, "is none of slonik's training .*colour"),
    ],
)
def test_a_checkpoint_of_a_later_version_is_refused_and_stays(
    tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    toy.train(tmp_path)
    _rewrite(tmp_path, lambda state: state.update(change))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(SlonikError, match=sentence):
        toy.train(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_embeddings_trained_by_rows_do_not_go_on_in_several_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.train(tmp_path, embeddings="lazy")
    monkeypatch.setattr(Processes, "__init__", _of_two)
    with pytest.raises(SlonikError, match=r"trains its embeddings by rows .* go on with one process"):
        toy.train(tmp_path, embeddings="lazy")


def _of_two(self: Any, _device: str) -> None:
    self.device, self.rank, self.world, self.main = torch.device("cpu"), 0, 2, True
    self.from_main = lambda value: value
