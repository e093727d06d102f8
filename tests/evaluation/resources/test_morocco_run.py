"""Running a command and writing the published logs of it: the logs read back, failures are told."""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from slonik.core.errors import SlonikError
from slonik.evaluation.resources.morocco import score
from slonik.evaluation.resources.morocco_run import GpuWatch, ProcessSampler, RunPlan, run

PROGRAM = """
import sys, time
assert sys.argv[-2] == "--batch-size" and int(sys.argv[-1]) > 0
kept = bytearray(30_000_000)
time.sleep(0.1)
for number, line in enumerate(sys.stdin):
    time.sleep(0.002)
    {extra}
    print("{{}}")
"""


@pytest.fixture
def plan(tmp_path: Path) -> RunPlan:
    data = tmp_path / "input.jsonl"
    data.write_text('{"text": "раз"}\n\n{"text": "два"}\n', encoding="utf-8")
    return RunPlan(
        command=program(tmp_path), input=data, out=tmp_path / "logs", model="tiny", task="toy", repeats=1,
        input_size=150, batch_size=4, period=0.05,
    )  # fmt: skip


def program(folder: Path, extra: str = "pass") -> tuple[str, ...]:
    path = folder / f"program{abs(hash(extra))}.py"
    path.write_text(PROGRAM.format(extra=extra))
    return (sys.executable, str(path))


def test_logs_read_back_and_score(plan: RunPlan) -> None:
    logs = run(replace(plan, repeats=2))
    assert sorted(log.path.name for log in logs) == ["150_4_01.jsonl", "150_4_02.jsonl", "1_1_01.jsonl", "1_1_02.jsonl"]
    assert all(len(log.samples) >= 2 and log.total_time > 0.1 for log in logs)
    big = [log for log in logs if log.input_size == 150]
    assert all(log.total_time >= 0.4 and (log.peak("ram") or 0) > 30_000_000 for log in big)
    found = {record.metric: record for record in score(plan.out)}
    assert "rps" in found
    assert found["gpu_ram"].value is None
    assert abs(logs[0].samples[0].timestamp - time.time()) < 600


def test_same_command_goes_on_and_another_is_refused(plan: RunPlan) -> None:
    run(plan)
    before = (plan.folder / "1_1_01.jsonl").read_bytes()
    assert len(run(plan)) == 2
    assert (plan.folder / "1_1_01.jsonl").read_bytes() == before
    other = replace(plan, command=program(plan.out.parent, "len(line)"))
    with pytest.raises(SlonikError, match="another command"):
        run(other)
    run(replace(other, overwrite=True))
    assert (plan.folder / "1_1_01.jsonl").read_bytes() != before


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("raise ValueError('no such label')", r"exit code 1 on 1 records:\n(.|\n)*no such label"),
        ("import os; os.kill(os.getpid(), 9)", "signal 9"),
        ("continue", "wrote 0 predictions for 1 records"),
        ("print('twice')", "wrote 2 predictions for 1 records"),
    ],
)
def test_failing_commands_are_told_with_what_they_said(plan: RunPlan, extra: str, words: str) -> None:
    with pytest.raises(SlonikError, match=words):
        run(replace(plan, command=program(plan.out.parent, extra)))
    assert not list(plan.folder.glob("*.jsonl"))


def test_a_command_that_hangs_is_stopped_with_its_children(plan: RunPlan) -> None:
    child = (
        "import subprocess; p = subprocess.Popen(['sleep', '60']); "
        "open(sys.argv[0] + '.pid', 'w').write(str(p.pid)); p.wait()"
    )
    command = program(plan.out.parent, child)
    with pytest.raises(SlonikError, match="was stopped after 3 s"):
        run(replace(plan, command=command, timeout=3.0))
    pid = int(Path(command[1] + ".pid").read_text())
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and _runs(pid):
        time.sleep(0.05)
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"command": ("no-such-program",)}, "cannot run no-such-program"),
        ({"model": "a/b"}, "cannot be a folder's name"),
        ({"task": ".."}, "cannot be a folder's name"),
        ({"repeats": 0}, "at least 1"),
        ({"input_size": 1, "batch_size": 1}, "other half of the rule"),
        ({"input": Path("nowhere.jsonl")}, "not a readable JSONL file"),
    ],
)
def test_bad_plans_end_in_a_sentence(plan: RunPlan, change: dict[str, object], words: str) -> None:
    with pytest.raises(SlonikError, match=words):
        run(replace(plan, **change))  # type: ignore[arg-type]


@pytest.mark.parametrize(("content", "words"), [("", "holds no record"), ("{}\nnot json\n", "record 2 .* not JSON")])
def test_bad_input_ends_in_a_sentence(plan: RunPlan, content: str, words: str) -> None:
    plan.input.write_text(content)
    with pytest.raises(SlonikError, match=words):
        run(plan)


def test_a_line_separator_inside_a_record_ends_no_record(plan: RunPlan) -> None:
    plan.input.write_text('{"text": "раз\u2028два\x85три"}\n', encoding="utf-8")
    check = "assert __import__('json').loads(line)['text'].count(chr(0x2028)) == 1"
    logs = run(replace(plan, command=program(plan.out.parent, check), input_size=2))
    assert len(logs) == 2


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for nvidia-smi that reports what a file says."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program_path = folder / "nvidia-smi"
    program_path.write_text(
        "#!/bin/sh\ncase \"$1\" in\n*query-gpu*) echo '40, 3000';;\n*compute*) cat "
        + str(folder / "apps")
        + ";;\nesac\n"
    )
    program_path.chmod(program_path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder / "apps"


def test_gpu_memory_of_the_tree_is_sampled(nvidia_smi: Path) -> None:
    nvidia_smi.write_text(f"{os.getpid()}, 1500\n1, 700\n")
    assert GpuWatch.available()
    with GpuWatch(0.02) as watch:
        deadline = time.monotonic() + 10
        while watch.latest({os.getpid()}) == (None, None) and time.monotonic() < deadline:
            time.sleep(0.02)
        sampler = ProcessSampler(os.getpid(), watch)
        usage = sampler.sample(0.0, 1.0)
    assert usage is not None
    assert (usage.gpu_usage, usage.gpu_ram) == (0.4, 1500 * 2**20)
    assert watch.latest({999_999_999}) == (None, None)


def test_a_driver_that_fails_means_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program_path = tmp_path / "nvidia-smi"
    program_path.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'; exit 9\n")
    program_path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert not GpuWatch.available()


def test_run_file_says_what_the_logs_are_of(plan: RunPlan) -> None:
    run(plan)
    content = json.loads((plan.folder / "run.json").read_text())
    assert content["command"] == list(plan.command)
    assert (content["input_size"], content["batch_size"]) == (150, 4)
    assert content["machine"]["cores"] >= 1
