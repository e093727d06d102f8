"""A launch writes what the scheduler takes, refuses mistakes before anything is written, and asks it afterwards."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import slonik
from slonik.core.errors import SlonikError
from slonik.scaling import launch as module
from slonik.scaling.job import Job, Mount, program, read_time
from slonik.scaling.launch import cancel, launch_folder, logs, status, status_table
from slonik.scaling.state import reason_of
from tests.scaling.conftest import RECIPE

COMMAND = "pretrain tiny.yaml --corpus ru.txt --out my-bert"
pytestmark = pytest.mark.usefixtures("desk")
ON_A_CLUSTER: dict[str, Any] = {"image": "registry.org/slonik:0.1.0", "mounts": ["work:/work"]}


def _slurm(**options: Any) -> str:
    made = slonik.launch(options.pop("command", COMMAND), on="slurm", **options)
    return (made.folder / "job.sbatch").read_text()


def _directives(text: str) -> dict[str, str]:
    lines = [line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH ")]
    return dict(line.partition("=")[::2] for line in lines)


def test_the_sbatch_file_has_what_was_asked_for_and_is_a_script() -> None:
    text = _slurm(nodes=2, gpus="h100:8", time="48:00:00", queue="long", cpus=16, memory="64G")
    found = _directives(text)
    wanted = {
        "job-name": "my-bert", "nodes": "2", "ntasks-per-node": "1", "gpus-per-node": "h100:8", "time": "2-00:00:00",
        "partition": "long", "cpus-per-task": "16", "mem": "64G", "signal": "B:USR1@120", "open-mode": "append",
        "requeue": "", "chdir": str(Path.cwd()), "output": f"{Path.cwd()}/my-bert.launch/%j.log",
    }  # fmt: skip
    assert found == wanted
    assert "--nnodes=2 --nproc-per-node=8 --rdzv-backend=c10d" in text
    assert f"command=({COMMAND})" in text
    assert subprocess.run(["bash", "-n", "my-bert.launch/job.sbatch"], check=False).returncode == 0


def test_an_array_has_a_command_for_each_value() -> None:
    text = _slurm(command="pretrain tiny.yaml --seed {seed} --out b-{seed}", array="seed=3-5", time="1h")
    assert _directives(text)["array"] == "0-2"
    assert (_directives(text)["job-name"], launch_folder("b-seed").is_dir()) == ("b-seed", True)
    script = text[text.index("case ") : text.index("program=")] + 'echo "${command[@]}"'
    for number, seed in enumerate((3, 4, 5)):
        done = subprocess.run(
            ["bash", "-c", script], env={"SLURM_ARRAY_TASK_ID": str(number)}, capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == ["pretrain", "tiny.yaml", "--seed", str(seed), "--out", f"b-{seed}"]


def test_words_with_blanks_and_quotes_reach_slonik_whole(scheduler: Callable[[str, str], Path]) -> None:
    notes = scheduler("python", "")
    awkward = 'it\'s $HOME; {x} "quoted"'
    Path(awkward).touch()
    command = ["pretrain", "tiny.yaml", "--corpus", awkward, "--out", "out dir/a"]
    made = slonik.launch(command, on="local", python="python", retries=0, job="odd")
    subprocess.run(["bash", made.files[0]], check=True)
    assert notes.read_text() == f"-m slonik {' '.join(command)}\n"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"command": "pretrain tiny.yaml --corpsu x --out a"}, r"No such option: --corpsu"),
        ({"command": "pretrian tiny.yaml"}, r"No such command 'pretrian'"),
        ({"command": "pretrain"}, r"Missing argument '(?i:recipe)'"),
        ({"command": "pretrain tiny.yaml --out a --steps many"}, r"Invalid value for '--steps'"),
        ({"command": "pretrain tiny.yaml --out a --set train.step=4"}, r"unknown field 'train.step'"),
        ({"command": "pretrain none.yaml --out a"}, r"there is no recipe none.yaml"),
        ({"command": "pretrain tiny.yaml --out tiny.yaml"}, r"tiny.yaml is a file: choose another --out"),
        ({"command": "show x", "gpus": 0}, r"has no --out that the job could be named after: give --job"),
        ({"command": "serve x --port 1", "job": "s"}, r"a server is no job that ends"),
        ({"command": "launch status x", "job": "s"}, r"slonik launch status starts jobs itself"),
        ({"command": "distill a --teacher b --out c", "gpus": 2}, r"slonik distill works in one process"),
        ({"time": "2 days"}, r"--time '2 days' is no time of a job"),
        ({"time": "1:70:00"}, r"--time '1:70:00' is no time of a job"),
        ({"time": "30"}, r"--time '30' is no time"),
        ({"gpus": "eight"}, r"--gpus 'eight' is no number of GPUs"),
        ({"memory": "lots"}, r"'memory' is 'lots'"),
        ({"image": "none.sif"}, r"there is no image none.sif"),
        ({"mounts": ["/data"], "image": "docker://a/b:1"}, r"--mount '/data' is not SOURCE:TARGET"),
        ({"mounts": ["/data:/data"]}, r"--mount does nothing under Slurm without --image"),
        ({"array": "seed=0-4"}, r"--array 'seed=0-4' changes nothing: write \{seed\}"),
        ({"array": "seed", "command": "pretrain tiny.yaml --out a"}, r"--array 'seed' is not NAME=VALUE"),
        ({"command": "pretrain tiny.yaml --seed {seed} --out a", "array": "seed=0,1"}, r"would write to one --out, a"),
        ({"on": "lsf"}, r"unknown place to launch on 'lsf'"),
        ({"on": "local", "queue": "long"}, r"--queue does nothing with --on local"),
        ({"on": "local", "nodes": 2}, r"--nodes 2 on one machine"),
        ({"on": "apptainer"}, r"--on apptainer needs --image"),
        ({"on": "kubernetes"}, r"--on kubernetes needs --image"),
        ({"on": "kubernetes", "image": "a/b:1"}, r"what a pod writes goes with it"),
        ({"on": "kubernetes", **ON_A_CLUSTER, "image": "a/b:latest"}, r"--image a/b:latest names no version"),
        ({"on": "kubeflow", **ON_A_CLUSTER, "setup": ["module load x"]}, r"--setup does nothing on Kubernetes"),
        ({"on": "skypilot", "mounts": ["s3://b:/work"]}, r"rents a type of GPU, so name it: --gpus H100:1"),
        ({"on": "skypilot", "gpus": "H100:1"}, r"what a rented machine writes goes with it"),
        ({"on": "skypilot", "gpus": "H100:1", "mounts": ["s3://b:/w"], "queue": "q"}, r"--queue does nothing on Sky"),
        ({"env": {"A": "1"}, "processes": 9, "gpus": 8}, r"9 processes per node have 8 GPU between them"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_and_nothing_is_written(options: dict[str, Any], sentence: str, desk: Path) -> None:
    before = sorted(desk.iterdir())
    with pytest.raises(SlonikError, match=sentence) as found:
        slonik.launch(options.pop("command", COMMAND), **{"on": "slurm", **options})
    assert "\n" not in str(found.value)
    assert sorted(desk.iterdir()) == before


@pytest.mark.parametrize(("on", "program"), [("slurm", "sbatch"), ("kubernetes", "kubectl"), ("skypilot", "sky")])
def test_a_scheduler_that_is_not_installed_is_missed_before_anything_is_written(
    on: str, program: str, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    before = sorted(desk.iterdir())
    options = {"kubernetes": ON_A_CLUSTER, "skypilot": {"gpus": "H100:1", "mounts": ["s3://b:/w"]}}.get(on, {})
    with pytest.raises(SlonikError, match=f"{program} is not installed here"):
        slonik.launch(COMMAND, on=on, submit=True, **options)
    assert sorted(desk.iterdir()) == before


def test_two_launches_into_one_out_are_refused_and_the_first_is_as_it_was(
    scheduler: Callable[[str, str], Path],
) -> None:
    scheduler("sbatch", "17")
    scheduler("squeue", "17|RUNNING|None")
    made = slonik.launch(COMMAND, on="slurm", submit=True)
    assert made.job == "17"
    before = {path: path.read_bytes() for path in made.folder.iterdir()}
    with pytest.raises(SlonikError, match=r"my-bert is launched already \(job 17\) and has not ended"):
        slonik.launch(COMMAND, on="slurm", submit=True)
    scheduler("squeue", "")
    scheduler("sacct", "17|COMPLETED|0:0")
    with pytest.raises(SlonikError, match=r"is of another launch \(slonik pretrain tiny.yaml --corpus ru.txt"):
        slonik.launch(f"{COMMAND} --seed 5", on="slurm")
    assert {path: path.read_bytes() for path in made.folder.iterdir()} == before
    again = slonik.launch(COMMAND, on="slurm", submit=True)
    record = json.loads((again.folder / "launch.json").read_text())
    assert [one["job"] for one in record["submissions"]] == ["17", "17"]


def test_a_folder_that_is_no_launch_is_left_alone(desk: Path) -> None:
    (desk / "my-bert.launch").mkdir()
    (desk / "my-bert.launch" / "mine.txt").write_text("mine")
    with pytest.raises(SlonikError, match="is there already and is no launch"):
        slonik.launch(COMMAND, on="slurm")
    assert [path.name for path in (desk / "my-bert.launch").iterdir()] == ["mine.txt"]


def test_the_record_and_the_job_know_the_recipe_by_its_content(desk: Path) -> None:
    def told() -> dict[str, Any]:
        text = _slurm()
        line = next(line for line in text.splitlines() if line.startswith("export SLONIK_LAUNCH="))
        return json.loads(shlex.split(line.removeprefix("export "))[0].partition("=")[2])

    first = told()
    (desk / "tiny.yaml").write_text(yaml.safe_dump(RECIPE | {"seed": 4}))
    assert first["on"] == "slurm" and len(first["recipe"]) == 64
    assert told()["recipe"] != first["recipe"]
    assert json.loads((desk / "my-bert.launch" / "launch.json").read_text())["job"]["recipe"] == "tiny.yaml"


def test_slurm_is_asked_and_a_bad_end_is_explained(scheduler: Callable[[str, str], Path]) -> None:
    scheduler("sbatch", "17;cluster")
    slonik.launch(COMMAND, on="slurm", submit=True)
    scheduler("squeue", "17|PENDING|Priority")
    assert [(one.element, one.state, one.why) for one in status("my-bert")] == [("17", "PENDING", "Priority")]
    with pytest.raises(SlonikError, match=r"has written nothing yet: its log will be my-bert.launch/17"):
        logs("my-bert")
    scheduler("squeue", "")
    scheduler("sacct", "17|OUT_OF_MEMORY|0:125")
    Path("my-bert.launch/17.log").write_text("step 1\nslurmstepd: error: Detected 1 oom_kill event in StepId=17.0.\n")
    (found,) = status("my-bert")
    assert found.ended and not found.well and "give more with --memory" in found.reason
    assert found.log == Path.cwd() / "my-bert.launch" / "17.log"
    assert "OUT_OF_MEMORY" in str(status_table("my-bert", [found]).rows)
    assert logs("my-bert", lines=1).startswith("slurmstepd")
    scheduler("sacct", "")
    scheduler("scontrol", "JobId=17 JobName=x JobState=COMPLETED ExitCode=0:0 Reason=None")
    assert status("my-bert")[0].well
    scheduler("scontrol", "")
    with pytest.raises(SlonikError, match="slurm does not know 17 any more"):
        status("my-bert")
    notes = scheduler("scancel", "")
    assert (cancel("my-bert"), notes.read_text()) == ("17", "17\n")


def test_what_was_not_submitted_cannot_be_asked_for() -> None:
    slonik.launch(COMMAND, on="slurm")
    with pytest.raises(SlonikError, match=r"was written and not submitted \(job.sbatch in my-bert.launch\)"):
        status("my-bert")
    with pytest.raises(SlonikError, match="there is no launch other"):
        status("other")


@pytest.mark.parametrize(
    ("log", "part"),
    [
        ("x\ntorch.OutOfMemoryError: CUDA out of memory. Tried\n", "more memory than its GPU has"),
        ("traceback : Signal 9 (SIGKILL) received by PID 4\n", r"a process was killed (signal 9)"),
        ("slurmstepd: *** JOB 3 CANCELLED DUE TO TIME LIMIT ***", "give more with --time"),
        ("slonik launch: not started again: there is no recipe x", "slonik refused it: there is no recipe x"),
        ("error: the corpus is empty", "the corpus is empty"),
        ("all is well", ""),
    ],
)
def test_logs_tell_why_a_job_ended(log: str, part: str) -> None:
    assert part in reason_of(log) and (part or not reason_of(log))


def _wait(name: str) -> Any:
    for _ in range(400):
        (found,) = status(name)
        if found.ended:
            return found
        time.sleep(0.05)
    raise AssertionError(found)


def test_a_job_on_this_machine_runs_is_started_again_where_it_died_and_not_where_it_refused(desk: Path) -> None:
    """`python` is a script of ours: it dies the first time, and refuses with `--seed 9`."""
    (desk / "python").write_text(
        "#!/bin/bash\n"
        'if [[ "$*" == *"--seed 9"* ]]; then echo "no such corpus" >> "$SLONIK_REFUSAL_FILE"; exit 2; fi\n'
        "if [ ! -e tried ]; then touch tried; kill -9 $$; fi\n"
        'echo "done: $*"\n'
    )
    (desk / "python").chmod(0o755)
    made = slonik.launch(COMMAND, on="local", python=str(desk / "python"), submit=True)
    assert made.job is not None and _wait("my-bert").well
    assert "a process died (exit code 137)" in logs("my-bert") and f"done: -m slonik {COMMAND}" in logs("my-bert")
    slonik.launch(f"{COMMAND}2 --seed 9", on="local", python=str(desk / "python"), submit=True)
    found = _wait("my-bert2")
    assert (found.state, found.why, found.reason) == ("FAILED", "exit code 2", "slonik refused it: no such corpus")
    with pytest.raises(SlonikError, match="does not run any more"):
        cancel("my-bert2")


def test_a_job_that_dies_of_memory_says_so_and_names_its_log(desk: Path) -> None:
    (desk / "python").write_text("#!/bin/bash\nkill -9 $$\n")
    (desk / "python").chmod(0o755)
    slonik.launch(COMMAND, on="local", python=str(desk / "python"), retries=0, submit=True)
    found = _wait("my-bert")
    assert "killed (signal 9), as happens where memory is full" in found.reason
    assert found.log == desk / "my-bert.launch" / "job.log"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("48:00:00", 172800), ("2-12:00:00", 216000), ("36h", 129600), ("90m", 5400), ("2d", 172800), ("0:01:00", 60)],
)
def test_times_are_read_as_schedulers_write_them(text: str, seconds: int) -> None:
    assert read_time(text) == seconds


def test_one_process_needs_no_torchrun_and_a_container_keeps_paths(desk: Path) -> None:
    (desk / "slonik.sif").touch()
    job = Job(on="slurm", name="a", commands=(("distill", "m"),), folder=desk)
    assert program(job)[1:] == ["-m", "slonik"]
    text = _slurm(image="slonik.sif", mounts=["/data:/corpora:ro"], gpus=4)
    words = text[text.index("program=(") :].splitlines()[0]
    assert f"apptainer exec --nv --pwd {desk} --bind {desk}" in words
    assert "--bind /data:/corpora:ro slonik.sif python -m torch.distributed.run" in words
    assert Mount.read("claim:/data").claim and not Mount.read("/a:/data").claim


def test_a_task_for_skypilot_has_what_was_asked_for() -> None:
    made = slonik.launch(
        COMMAND, on="skypilot", gpus="H100:8", nodes=2, time="12h", memory="64G", cpus=8,
        mounts=["s3://bucket:/work", "s3://texts:/texts:ro"], env={"HF_HOME": "/work/hf"},
    )  # fmt: skip
    (task,) = yaml.safe_load_all(made.files[0].read_text())
    assert task["resources"]["accelerators"] == {"H100": 8} and task["num_nodes"] == 2
    assert task["resources"]["memory"] == "64+" and task["envs"]["HF_HOME"] == "/work/hf"
    assert task["file_mounts"]["/work"] == {"source": "s3://bucket", "mode": "MOUNT"}
    assert "--rdzv-endpoint=$head:29400" in task["run"] and "timeout --signal=TERM" in task["run"]
    assert subprocess.run(["bash", "-n"], input=task["run"], text=True, check=False).returncode == 0


def test_options_of_launch_are_none_of_those_of_the_commands_that_it_takes() -> None:
    import typer.main

    from slonik.cli.main import build_app
    from tests.cli.test_options import commands

    known = commands(typer.main.get_command(build_app()))
    own = {text for option in known["slonik launch run"].params for text in option.opts if text.startswith("-")}
    itself = ("slonik launch", "slonik sweep", "slonik data prepare")  # the last has an engine that asks Slurm
    for name, command in known.items():
        if not name.startswith(itself):
            assert not own & {text for option in command.params for text in option.opts}, name


def test_the_command_line_takes_options_before_and_behind_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    from slonik.cli.main import main

    with pytest.raises(SystemExit) as ended:
        main(["launch", "--on", "slurm", "pretrain", "tiny.yaml", "--corpus", "ru.txt", "--out=b", "--gpus", "0"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("written: b.launch/job.sbatch")
    with pytest.raises(SystemExit) as ended:
        main(["launch", "status", "b"])
    assert ended.value.code == 2 and "not submitted" in capsys.readouterr().err


def test_a_refusal_is_noted_where_a_script_looks_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from slonik.cli.main import main

    monkeypatch.setenv("SLONIK_REFUSAL_FILE", str(tmp_path / "refused"))
    with pytest.raises(SystemExit):
        main(["pretrain", "none.yaml", "--out", "a"])
    assert (tmp_path / "refused").read_text() == "there is no recipe none.yaml\n"


def test_every_target_of_the_help_can_be_written_for() -> None:
    assert set(module.TARGETS) == {"slurm", "kubernetes", "kubeflow", "skypilot", "apptainer", "local"}
    assert os.environ.get("SLONIK_LAUNCH") is None


def test_a_passport_that_tells_of_its_launch_is_shown() -> None:
    from slonik.cli.show import _launched

    told = Job(on="slurm", name="a", commands=(("pretrain", "r"),), folder=Path(), nodes=2, gpus=8).told()
    assert _launched(told | {"job": "7", "restarts": "2"}) == (
        "on slurm job 7, 2 x 8 processes, 8 GPUs each, put back 2 times"
    )
