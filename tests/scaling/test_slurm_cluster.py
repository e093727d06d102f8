"""Jobs on a real Slurm that are told to save, killed, or out of time go on and end with the same weights.

Run by hand, for it takes minutes: `tests/scaling/slurm_cluster.sh start FOLDER` starts a cluster of one node; with the
SLURM_CONF that it names, and SLONIK_TEST_SLURM=1, these tests run.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import slonik
from slonik.core.hashing import sha256_file
from slonik.core.passport import Passport
from slonik.scaling.launch import logs, status

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(shutil.which("sbatch") is None, reason="Slurm is not installed"),
    pytest.mark.skipif(not os.environ.get("SLONIK_TEST_SLURM"), reason="SLONIK_TEST_SLURM is not set"),
]
WORDS = ["слон", "дом", "река", "дорога", "видит", "идёт", "стоит", "спит", "большой", "серый", "у", "и", "лес", "вода"]
RECIPE = {
    "version": 1, "out": "tiny", "corpus": {"language": "any"}, "objective": "mlm", "length": 32, "batch_tokens": 256,
    "tokenizer": {"kind": "wordpiece", "vocab_size": 200},
    "model": {"family": "bert", "layers": 2, "hidden": 32, "heads": 2, "max_length": 64},
    "train": {
        "max_steps": 1500, "learning_rate": 1e-3, "evaluate_every_steps": 500, "device": "cpu", "trackers": [],
        "save_every_minutes": 0.1,
    },
}  # fmt: skip
COMMAND = "pretrain tiny.yaml --corpus ru.txt --out"
LONGEST = 900


@pytest.fixture(scope="module", autouse=True)
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a recipe and a corpus, where jobs run on one thread; and what the recipe gives undisturbed."""
    folder = tmp_path_factory.mktemp("slurm")
    rng = random.Random(1)
    lines = [" ".join(rng.choices(WORDS, k=rng.randint(6, 18))) + "." for _ in range(1500)]
    (folder / "ru.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(RECIPE))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("OMP_NUM_THREADS", "1")
        subprocess.run([sys.executable, "-m", "slonik", *f"{COMMAND} reference".split()], check=True)
        yield folder


def _weights(name: str) -> str:
    return sha256_file(Path(name) / "model.safetensors")


def _until(name: str, state: str) -> None:
    """Wait until the job is in that state, and has begun to train where it is to run."""
    for _ in range(LONGEST):
        (found,) = status(name)
        training = any(Path(f"{name}.steps").glob("train-*/checkpoints/step_*"))
        if found.state == state and (state != "RUNNING" or training):
            return
        assert not found.ended, f"{found}\n{logs(name)}"
        time.sleep(1)
    raise AssertionError(f"{found}\n{logs(name)}")


def _launch(name: str, **options: object) -> str:
    made = slonik.launch(f"{COMMAND} {name}", on="slurm", gpus=0, submit=True, **options)  # type: ignore[arg-type]
    assert made.job is not None
    return made.job


def _ended_as_undisturbed(name: str) -> int:
    """How often the job was put back; its weights are those of the undisturbed run."""
    _until(name, "COMPLETED")
    assert _weights(name) == _weights("reference")
    launch = Passport.read(name).lineage[-1].launch
    assert launch is not None and launch["on"] == "slurm"
    return int(launch.get("restarts", 0))


def test_a_job_that_is_told_to_save_goes_on_to_the_same_weights() -> None:
    job = _launch("told", time="1h")
    _until("told", "RUNNING")
    subprocess.run(["scancel", "--signal=USR1", "--batch", job], check=True)
    _until("told", "PENDING")
    assert "it is saved: run the same command again" in logs("told")
    assert _ended_as_undisturbed("told") == 1


def test_a_job_whose_step_was_killed_goes_on_to_the_same_weights() -> None:
    job = _launch("killed", time="1h")
    _until("killed", "RUNNING")
    subprocess.run(["scancel", "--signal=KILL", f"{job}.0"], check=True)
    _until("killed", "PENDING")
    assert "started again, 1 of 3 times" in logs("killed")
    assert _ended_as_undisturbed("killed") == 1


def test_a_job_whose_time_is_over_saves_and_goes_on_to_the_same_weights() -> None:
    """Two minutes, of which the last half is not used; a machine that is so fast that it ends before is not told."""
    _launch("timed", time="2m")
    _until("timed", "COMPLETED")
    if "time is nearly up" in logs("timed"):
        assert _ended_as_undisturbed("timed") >= 1
    assert _weights("timed") == _weights("reference")


def test_two_processes_that_meet_by_c10d_are_told_to_save_and_go_on() -> None:
    job = _launch("pair", time="1h", processes=2)
    _until("pair", "RUNNING")
    subprocess.run(["scancel", "--signal=USR1", "--batch", job], check=True)
    _until("pair", "PENDING")
    _until("pair", "COMPLETED")
    passport = Passport.read("pair").lineage[-1]
    assert passport.summary["processes"] == 2 and passport.launch is not None and passport.launch["restarts"] == "1"


def test_a_command_that_refuses_its_options_in_the_job_is_not_started_again() -> None:
    Path("empty.txt").write_text("")
    slonik.launch("pretrain tiny.yaml --corpus empty.txt --out refused", on="slurm", gpus=0, submit=True)
    for _ in range(LONGEST):
        (found,) = status("refused")
        if found.ended:
            break
        time.sleep(1)
    assert found.state == "FAILED" and found.reason.startswith("slonik refused it: ")
    assert logs("refused").count("not started again") == 1
