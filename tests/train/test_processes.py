"""Several processes over gloo: the same steps as one process, disjoint data, resume, FSDP."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from slonik.core.errors import SlonikError
from slonik.train.processes import leave
from slonik.train.run_log import read_metrics
from slonik.train.sharded import SHARDS, part_in
from tests.together import together
from tests.train import toy_processes


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of `toy_processes.main` in two processes."""
    folder = tmp_path_factory.mktemp("processes")
    torch.set_num_threads(1)
    for batches in (1, 3):
        toy_processes.crash(folder / f"grown-{batches}", accumulate=batches)
    together(2, lambda: toy_processes.main(folder), folder / "said")
    return folder


def _losses(folder: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(folder / "metrics.jsonl") if "loss" in line]


def _weights(folder: Path, part: str = "model") -> dict[str, Tensor]:
    last = sorted((folder / "checkpoints").glob("step_*"))[-1]
    if (last / SHARDS).is_dir():
        return part_in(last / SHARDS, part)
    return load_file(last / f"{part}.safetensors")


def _close(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.allclose(first[name], second[name], atol=1e-5) for name in first)


@pytest.mark.parametrize(("name", "accumulate"), [("copies", 2), ("parts", 2), ("moved", 2), ("accumulated", 4)])
def test_two_processes_make_the_steps_of_one_that_accumulates(
    runs: Path, tmp_path: Path, name: str, accumulate: int
) -> None:
    torch.set_num_threads(1)
    summary = toy_processes.train(tmp_path, accumulate=accumulate)
    assert _losses(runs / name) == pytest.approx(_losses(tmp_path), rel=1e-5)
    assert _close(_weights(runs / name), _weights(tmp_path))
    assert _close(_weights(runs / name, "optimizer"), _weights(tmp_path, "optimizer"))
    lines = [line for line in read_metrics(runs / name / "metrics.jsonl") if "loss" in line]
    assert sum(line["tokens"] for line in lines) == summary.tokens
    assert len(lines) == toy_processes.STEPS  # one writer


def test_processes_with_parts_write_shards_and_hand_back_whole_weights(runs: Path) -> None:
    folder = runs / "parts" / "checkpoints"
    shards = sorted((sorted(folder.glob("step_*"))[-1] / SHARDS).iterdir())
    assert [path.name.split("-")[1] for path in shards] == ["00001", "00002"]  # each process wrote its part
    sizes = [path.stat().st_size for path in shards]
    assert max(sizes) < 1.5 * min(sizes)
    best = next(folder.glob("weights_of_best_*"))
    copies = runs / "copies" / "checkpoints" / best.name.removeprefix("weights_of_")
    assert _close(load_file(best / "model.safetensors"), load_file(copies / "model.safetensors"))


@pytest.mark.parametrize("batches", [1, 3])
def test_a_run_of_one_process_goes_on_with_two_and_makes_the_same_steps(
    runs: Path, tmp_path: Path, batches: int
) -> None:
    """Steps of one batch leave one of the two without one; three batches leave it so in the second round."""
    toy_processes.train(tmp_path, accumulate=batches)
    found = runs / f"grown-{batches}"
    assert _losses(found) == pytest.approx(_losses(tmp_path), rel=1e-5)
    for part in ("model", "optimizer"):
        assert _close(_weights(found, part), _weights(tmp_path, part))


@pytest.mark.parametrize("batches", [2, 4])
def test_a_run_of_two_processes_goes_on_with_one_and_makes_the_same_steps(
    runs: Path, tmp_path: Path, batches: int
) -> None:
    toy_processes.train(tmp_path, accumulate=batches)
    found = runs / f"shrunk-{batches}"
    assert toy_processes.train(found, accumulate=batches // 2, sharding="full").resumed_from == 3
    assert _losses(found) == pytest.approx(_losses(tmp_path), rel=1e-5)
    for part in ("model", "optimizer"):
        assert _close(_weights(found, part), _weights(tmp_path, part))


def test_a_run_that_lost_a_process_before_its_first_checkpoint_keeps_the_size_of_its_steps(tmp_path: Path) -> None:
    toy_processes.train(tmp_path / "whole", accumulate=4)
    toy_processes.train(tmp_path / "lost", accumulate=2)
    written = tmp_path / "lost" / "begun.json"
    # As two processes with two batches each would have left it.
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "begun.json").write_text(written.read_text().replace('"batches": 2', '"batches": 4'))
    toy_processes.train(tmp_path / "again", accumulate=2)
    assert _losses(tmp_path / "again") == _losses(tmp_path / "whole") != _losses(tmp_path / "lost")


@pytest.mark.parametrize("name", ["half", "half-parts"])
def test_in_fp16_the_processes_leave_out_the_steps_that_one_does(runs: Path, tmp_path: Path, name: str) -> None:
    torch.set_num_threads(1)
    toy_processes.train(tmp_path, accumulate=2, precision="fp16")
    told, alone = (
        [bool(line.get("skipped")) for line in read_metrics(folder / "metrics.jsonl") if "loss" in line]
        for folder in (runs / name, tmp_path)
    )
    assert told == alone and any(told) and not all(told)
    assert _losses(runs / name) == pytest.approx(_losses(tmp_path), rel=1e-5)
    assert _close(_weights(runs / name), _weights(tmp_path))


def test_a_run_of_two_processes_that_crashed_goes_on_to_the_same_weights(runs: Path) -> None:
    assert _losses(runs / "crashed") == _losses(runs / "copies")
    for part in ("model", "optimizer"):
        first, second = _weights(runs / "crashed", part), _weights(runs / "copies", part)
        assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_processes_that_would_read_the_same_shard_are_stopped_at_the_start(runs: Path) -> None:
    for rank in (0, 1):
        said = (runs / f"accident_{rank}.txt").read_text(encoding="utf-8")
        assert "processes 0 and 1 would read the same batch" in said
    assert not (runs / "accident" / "checkpoints").exists()


def test_processes_that_do_not_find_each_other_are_not_taken_for_runs_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy_processes.train(tmp_path / "alone")  # Accelerate has settled for one process
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(SlonikError, match="announced 4 processes and this run sees 1"):
        toy_processes.train(tmp_path / "four")


def _leaving() -> None:
    torch.distributed.init_process_group("gloo", rank=0, world_size=1, store=torch.distributed.HashStore())
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 1))
    model(torch.ones(1, 2)).sum().backward()
    during = len(list(Path("/proc/self/task").iterdir()))
    del model
    leave()
    print(during, len(list(Path("/proc/self/task").iterdir())))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are listed by Linux only")
def test_nothing_of_the_group_runs_on_when_the_interpreter_shuts_down(tmp_path: Path) -> None:
    during, after = map(int, together(1, _leaving, tmp_path / "said").split())
    assert during > after == 1
