"""Saving beside the training: what is saved is what was, a killed save never counts, shards are read by anybody."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from slonik.core.errors import SlonikError
from slonik.train import checkpoints
from slonik.train.checkpoints import Checkpoints, read_checkpoint
from slonik.train.processes import Processes
from slonik.train.run_log import read_metrics
from slonik.train.saving import Saver, own_tensors
from slonik.train.sharded import part_in, sizes_in
from tests.train import toy_processes


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def _newest(folder: Path, prefix: str = "step_") -> Path:
    return sorted((folder / "checkpoints").glob(f"{prefix}*"))[-1]


@pytest.mark.parametrize(("first", "then"), [("sharded", "sharded"), ("sharded", "whole"), ("whole", "sharded")])
def test_a_run_goes_on_from_shards_and_from_whole_files_to_the_same_weights(
    tmp_path: Path, first: str, then: str
) -> None:
    toy_processes.train(tmp_path / "undisturbed")
    toy_processes.crash(tmp_path / "run", checkpoints=first)
    summary = toy_processes.train(tmp_path / "run", checkpoints=then)
    assert summary.resumed_from == 3
    whole = read_checkpoint(_newest(tmp_path / "undisturbed")).tensors
    last = read_checkpoint(_newest(tmp_path / "run"))
    assert (last.shards is not None) == (then == "sharded")
    found = {part: part_in(last.shards, part) for part in whole} if last.shards else last.tensors
    assert all(_same(found[part], whole[part]) for part in ("model", "optimizer"))
    # Whole weights are there in the end, and only once.
    assert _same(
        load_file(summary.weights), load_file(_newest(tmp_path / "undisturbed", "best_") / "model.safetensors")
    )
    made = sorted(path.name for path in (tmp_path / "run" / "checkpoints").glob("weights_of_*"))
    assert made == ([summary.weights.parent.name] if summary.weights.parent.name.startswith("weights_of_") else [])


@pytest.mark.parametrize("sharded", [False, True])
def test_what_is_saved_is_what_was_when_saving_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sharded: bool
) -> None:
    monkeypatch.setattr(checkpoints, "sha256_file", _after(saving_may_go_on := [], checkpoints.sha256_file))
    model = nn.ModuleDict({"words": nn.Embedding(5, 3), "head": nn.Linear(3, 5, bias=False)})
    model["head"].weight = model["words"].weight  # tied
    model.register_buffer("steps", torch.tensor(3))
    before = {name: tensor.clone() for name, tensor in own_tensors(model).items()}
    saver = Saver(Checkpoints(tmp_path, 2), Processes("cpu"), sharded=sharded)
    saver.save(1, {"model": own_tensors(model)}, {"best": None})
    assert not list(tmp_path.glob("step_*"))  # it is still being written
    with torch.no_grad():
        model["words"].weight.zero_()
    saving_may_go_on.append(True)
    saver.settle()
    saver.close()
    found = read_checkpoint(tmp_path / "step_00000001")
    assert _same(part_in(found.shards, "model") if found.shards else found.tensors["model"], before)
    assert set(before) == {"words.weight", "steps"}


def _after(signals: list[bool], work: Callable[[Path], str]) -> Callable[[Path], str]:
    def waiting(path: Path) -> str:
        while not signals:
            time.sleep(0.001)
        return work(path)

    return waiting


@pytest.mark.parametrize("way", ["whole", "sharded"])
def test_a_save_that_is_killed_never_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    toy_processes.train(tmp_path / "undisturbed")
    hashed = checkpoints.sha256_file

    def killed(path: Path) -> str:
        if "step_00000005" in str(path):
            os.kill(os.getpid(), signal.SIGKILL)
        return hashed(path)

    child = os.fork()
    if child == 0:  # all but the last files of the checkpoint are there when it dies
        monkeypatch.setattr(checkpoints, "sha256_file", killed)
        toy_processes.train(tmp_path / "run", checkpoints=way)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    folder = tmp_path / "run" / "checkpoints"
    assert [path.name for path in folder.glob(".slonik-tmp-*step_00000005")]
    assert _newest(tmp_path / "run").name == "step_00000004"
    assert toy_processes.train(tmp_path / "run", checkpoints=way).resumed_from == 4
    assert not list(folder.glob(".slonik-tmp-*"))
    assert read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]["step"] == toy_processes.STEPS
    best = _newest(tmp_path / "undisturbed", "best_") / "model.safetensors"
    assert _same(load_file(_weights_of(tmp_path / "run", way)), load_file(best))


def _weights_of(folder: Path, way: str) -> Path:
    return _newest(folder, "weights_of_" if way == "sharded" else "best_") / "model.safetensors"


@pytest.mark.parametrize("way", ["whole", "sharded"])
def test_a_full_disk_met_beside_the_training_ends_it_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    toy_processes.crash(tmp_path, checkpoints=way)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    place = "torch.distributed.checkpoint.filesystem._write_files_from_queue" if way == "sharded" else None
    if place:
        monkeypatch.setattr(place, full)
    else:
        monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(SlonikError, match=r"no space left while writing .*what was written before is intact"):
        toy_processes.train(tmp_path, checkpoints=way)
    assert _newest(tmp_path).name == "step_00000003"


def test_shards_of_another_model_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy_processes.train(tmp_path, checkpoints="sharded")
    monkeypatch.setattr(toy_processes, "WIDTH", 4)
    before = sizes_in(_newest(tmp_path) / "shards")
    with pytest.raises(SlonikError, match="belong to another model"):
        toy_processes.train(tmp_path, checkpoints="sharded")
    assert sizes_in(_newest(tmp_path) / "shards") == before


def test_a_damaged_shard_is_passed_over_for_the_checkpoint_before(tmp_path: Path) -> None:
    toy_processes.train(tmp_path, checkpoints="sharded")
    shard = next((_newest(tmp_path) / "shards").iterdir())
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    assert toy_processes.train(tmp_path, checkpoints="sharded").resumed_from == toy_processes.STEPS - 1


def test_the_log_says_what_saving_costs(tmp_path: Path) -> None:
    toy_processes.train(tmp_path)
    lines = [line for line in read_metrics(tmp_path / "metrics.jsonl") if "save_seconds" in line]
    assert [line["step"] for line in lines] == list(range(1, toy_processes.STEPS + 1))
