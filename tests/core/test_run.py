"""A step is done once with the same inputs and code, and made anew when anything that decides it has changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from slonik.core.errors import SlonikError
from slonik.core.files import machine, write_json, write_text
from slonik.core.identity import Identity, checkpoint_identity, corpus_identity
from slonik.core.passport import Passport, Step
from slonik.core.run import FORMAT, GIVEN, Checked, Run, Steps, checking, work_folder


class Settings(BaseModel):
    """What a step reads."""

    max_tokens: int = 128


def make(folder: Path) -> dict[str, Any]:
    """A step's work."""
    (folder / "made.txt").write_text("x")
    return {"value": 7}


@pytest.fixture
def lines() -> list[str]:
    """What was announced."""
    return []


def test_a_finished_step_is_not_run_again(tmp_path: Path, lines: list[str]) -> None:
    first = Steps(tmp_path, lines.append).step("trim", {"a": 1}, "trimming", make)
    again = Steps(tmp_path, lines.append).step("trim", {"a": 1}, "trimming", make)
    assert (first.fresh, again.fresh, again.summary) == (True, False, {"value": 7})
    assert (again.folder / "made.txt").read_text() == "x"
    assert lines == ["trimming ...", "trimming: done before"]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A folder like a sentence encoder's."""
    folder = tmp_path / "teacher"
    for name in ("config.json", "model.safetensors", "tokenizer.json", "modules.json", "1_Pooling/config.json",
                 "2_Dense/model.safetensors", "head.safetensors", "task.json", "generation_config.json"):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("old!")
    return folder


def same_size_and_dates(path: Path) -> None:
    """Change a file in the way that is hardest to see."""
    facts = path.stat()
    path.write_text(path.read_text().swapcase())
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


CHANGES: dict[str, Callable[[Path], object]] = {
    "corpus.a.txt": lambda place: same_size_and_dates(place / "corpus" / "a.txt"),
    "corpus.c.txt": lambda place: (place / "corpus" / "c.txt").write_text("more"),
    "teacher.config.json": lambda place: same_size_and_dates(place / "teacher" / "config.json"),
    "teacher.tokenizer.json": lambda place: same_size_and_dates(place / "teacher" / "tokenizer.json"),
    "teacher.1_Pooling/config.json": lambda place: same_size_and_dates(place / "teacher" / "1_Pooling" / "config.json"),
    "teacher.2_Dense/model.safetensors": lambda place: same_size_and_dates(
        place / "teacher" / "2_Dense" / "model.safetensors"
    ),
    "teacher.modules.json": lambda place: (place / "teacher" / "modules.json").unlink(),
    "teacher.head.safetensors": lambda place: same_size_and_dates(place / "teacher" / "head.safetensors"),
    "teacher.generation_config.json": lambda place: same_size_and_dates(place / "teacher" / "generation_config.json"),
    "settings.max_tokens (128 -> 64)": lambda place: None,
}


@pytest.mark.parametrize("changed", CHANGES)
def test_whatever_changes_the_step_is_made_anew_and_says_why(
    changed: str, tmp_path: Path, checkpoint: Path, lines: list[str]
) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "a.txt").write_text("one")
    (corpus / "b.txt").write_text("two")

    def run(settings: Settings) -> bool:
        inputs = {
            "corpus": corpus_identity(corpus),
            "teacher": checkpoint_identity(checkpoint),
            "settings": settings,
        }
        return Steps(tmp_path / "steps", lines.append).step("trim", inputs, "trimming", make).fresh

    assert run(Settings()) and not run(Settings())
    (checkpoint / "passport.json").write_text("{}")  # tells of it, and decides nothing
    assert not run(Settings())
    CHANGES[changed](tmp_path)
    settings = Settings(max_tokens=64) if changed.startswith("settings") else Settings()
    assert run(settings)
    told = changed + {"corpus.c.txt": " (new)", "teacher.modules.json": " (gone)"}.get(changed, "")
    assert lines[-1] == f"trimming ... (made anew: {told} changed)"
    assert not run(settings)


def test_another_meaning_of_the_code_makes_a_step_anew(tmp_path: Path) -> None:
    """A call of a module that is written anew between two processes."""
    source = "from pathlib import Path\ndef work(folder):\n    {0}\n    return {{'value': {1}}}\n"
    script = (
        "import sys; sys.path.insert(0, '.')\nimport made\nfrom slonik.core.run import Steps\n"
        "print(Steps('steps', print).step('trim', {}, 'trimming', made.work).fresh)\n"
    )

    def run(remark: str, value: int) -> str:
        (tmp_path / "made.py").write_text(source.format(remark, value))
        done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout

    assert run('"""Makes."""', 7).endswith("True\n")
    assert run("# another remark", 7).endswith("False\n")
    assert "(made anew: the code of made changed)" in run("pass; x = 1", 7)
    assert run("pass; x = 1", 8).endswith("True\n")


def test_an_interrupted_step_leaves_nothing(tmp_path: Path) -> None:
    def work(folder: Path) -> dict[str, Any]:
        (folder / "half.txt").write_text("x")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Steps(tmp_path).step("trim", {}, "trimming", work)
    assert [path.name for path in tmp_path.iterdir()] == ["format.json"]


def test_what_a_step_kept_to_go_on_from_outlives_an_interruption_and_goes_at_its_end(tmp_path: Path) -> None:
    interrupt = True

    def train(folder: Path) -> dict[str, Any]:
        place = steps.scratch()
        found = (place / "optimizer.bin").exists()
        (place / "optimizer.bin").write_bytes(b"x" * 100)
        if interrupt:
            raise KeyboardInterrupt
        return {"went on": found}

    steps = Steps(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        steps.step("distill", {"a": 1}, "distilling", train)
    assert len(list(tmp_path.glob("distill-*.unfinished/optimizer.bin"))) == 1
    other = steps.scratch("distill", {"a": 2})
    interrupt = False
    assert steps.step("distill", {"a": 1}, "distilling", train).summary == {"went on": True}
    assert list(tmp_path.glob("*.unfinished")) == [other]
    with pytest.raises(ValueError, match="no step is running"):
        steps.scratch()


def test_a_run_makes_its_result_whole_with_passport_and_leaves_no_steps(tmp_path: Path, lines: list[str]) -> None:
    out = tmp_path / "small"
    with Run(out, command="trim", config=Settings(), seed=3, announce=lines.append) as run:
        corpus = run.input("corpus", Identity.of({"a.txt": "12"}))
        made = run.step("trim", {"corpus": corpus}, "trimming", make)
        entry = run.passport_step({"value": made.summary["value"]})
        with run.result() as folder:
            (folder / "model.txt").write_text((made.folder / "made.txt").read_text())
    assert [path.name for path in tmp_path.iterdir()] == ["small"]
    assert [path.name for path in out.iterdir()] == ["model.txt"]
    assert (entry.command, entry.config, entry.seed, entry.summary) == ("trim", {"max_tokens": 128}, 3, {"value": 7})
    assert entry.inputs == {"corpus": str(corpus)} and entry.seconds is not None
    with pytest.raises(SlonikError, match="is there already"), Run(out, command="trim"):
        pass
    with Run(out, command="trim", overwrite=True, keep_steps=True) as run:
        run.step("trim", {}, "trimming", make)
        with run.result() as folder:
            (folder / "model.txt").write_text("new")
    assert (out / "model.txt").read_text() == "new" and work_folder(out).is_dir()
    assert not (work_folder(out) / "lock").exists()


def test_what_is_known_by_name_alone_is_said(tmp_path: Path, lines: list[str]) -> None:
    with Run(tmp_path / "small", command="trim", announce=lines.append) as run:
        run.input("corpus", corpus_identity(["hub:owner/name"]))
        run.input("teacher", "12")
    assert lines == ["hub:owner/name is known by its name alone: what changes there is not seen"]
    assert run.inputs.keys() == {"corpus", "teacher"} and list(tmp_path.iterdir()) == []


def test_a_failed_run_says_what_it_leaves_and_how_to_free_it(tmp_path: Path, lines: list[str]) -> None:
    out = tmp_path / "small"
    for error in (KeyboardInterrupt, SlonikError):
        with pytest.raises(error), Run(out, command="trim", announce=lines.append) as run:
            run.step("trim", {}, "trimming", make)
            raise error
        steps = work_folder(out)
        assert f"is kept in {steps} (0.0 MB), from which the same command goes on; rm -r {steps}" in lines[-1]
        assert not (steps / "lock").exists() and not out.exists()
    assert lines.count("trimming ...") == 1
    with pytest.raises(SlonikError), Run(tmp_path / "other", command="trim", announce=lines.append):
        raise SlonikError("a bad corpus")
    assert not work_folder(tmp_path / "other").exists()


def test_out_is_checked_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "locked").mkdir(mode=0o500)
    for out, words in [
        (tmp_path / "file", "is a file"),
        (tmp_path / "file" / "small", "file is a file"),
        (tmp_path / "corpus" / "small", "lies in .*corpus, which is read"),
        (tmp_path, "not empty"),
        (Path("/dev/null"), "no file and no folder"),
    ]:
        with pytest.raises(SlonikError, match=words), Run(out, command="trim", reads=[tmp_path / "corpus", "hub:x"]):
            pytest.fail("work began")
    if os.geteuid():
        with pytest.raises(SlonikError, match="may not be written"), Run(tmp_path / "locked" / "x", command="trim"):
            pass
    assert Path("/dev/null").is_char_device()
    assert {path.name for path in tmp_path.iterdir()} == {"file", "corpus", "locked"}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("trim-0123/step.json", '{"step": "trim", "key": "0123"}', "an earlier version of slonik"),
        ("notes.txt", "mine", "or by something else"),
        ("format.json", json.dumps({"format": FORMAT + 1}), f"is of format {FORMAT + 1}"),
        ("format.json", "{", "is of format None"),
    ],
)
def test_steps_of_another_layout_are_refused_and_left_alone(
    tmp_path: Path, name: str, content: str, words: str
) -> None:
    steps = work_folder(tmp_path / "small")
    (steps / name).parent.mkdir(parents=True)
    (steps / name).write_text(content)
    with pytest.raises(SlonikError, match=f"{words}.*remove it"), Run(tmp_path / "small", command="trim"):
        pytest.fail("work began")
    assert (steps / name).read_text() == content


def test_a_second_process_is_refused_and_a_dead_ones_lock_is_taken(tmp_path: Path) -> None:
    out = tmp_path / "small"
    script = (
        "import os, sys, time\nfrom slonik.core.run import Run\n"
        "with Run(sys.argv[1], command='trim') as run:\n    print(1, flush=True)\n    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.read(1)
        with pytest.raises(SlonikError, match=f"is being written by process {other.pid}: wait"), Run(out, command="x"):
            pytest.fail("two work at once")
        assert (work_folder(out) / "lock").exists()
        other.kill()
    with Run(out, command="trim") as run, run.result():
        pass
    assert not work_folder(out).exists()


def test_a_lock_of_another_machine_is_never_taken_over(tmp_path: Path) -> None:
    out = tmp_path / "small"
    holder = {"machine": "elsewhere", "host": "node7", "process": 1, "key": "k", "started": None}
    write_json(work_folder(out) / "lock", holder)
    with pytest.raises(SlonikError, match=r"process 1 on node7: wait for it, or remove .*lock"), Run(out, command="x"):
        pass
    assert json.loads((work_folder(out) / "lock").read_text()) == holder


def test_what_is_there_is_done_or_refused_by_what_it_was_made_from(tmp_path: Path) -> None:
    corpus, out = tmp_path / "a.txt", tmp_path / "model"
    corpus.write_text("one")

    def pretrain(steps: int = 10) -> bool:
        with Run(out, command="pretrain", resume=True) as run:
            if run.done_before({"corpus": corpus_identity(corpus), "train": {"steps": steps}}):
                return False
            with run.result() as folder:
                (folder / "model.txt").write_text("x")
        return True

    assert pretrain() and not pretrain()
    with pytest.raises(SlonikError, match=r"made from other inputs \(train.steps \(10 -> 20\) changed\)"):
        pretrain(20)
    same_size_and_dates(corpus)
    with pytest.raises(SlonikError, match=r"made from other inputs \(corpus.a.txt changed\): choose another --out"):
        pretrain()
    same_size_and_dates(corpus)
    assert not pretrain()
    (out / "run.json").unlink()  # as before there was one
    with pytest.raises(SlonikError, match="does not say from what it was made"):
        pretrain()
    assert (out / "model.txt").exists()


def test_a_command_that_works_in_out_goes_on_there_with_the_same_inputs_only(tmp_path: Path) -> None:
    out = tmp_path / "study"

    def study(words: str, *, fail: bool = False) -> tuple[bool, bool]:
        with Run(out, command="study", live="runs") as run:
            done = run.done_before({"corpus": words})
            fresh = run.step("one", {"corpus": words}, "run 1", make).fresh
            if fail:
                raise KeyboardInterrupt
            (out / "table.md").write_text("|")
        return done, fresh

    with pytest.raises(KeyboardInterrupt):
        study("a", fail=True)
    assert study("a") == (False, False)
    assert study("a") == (True, False)
    with pytest.raises(SlonikError, match=r"other inputs \(corpus \(\"a\" -> \"b\"\) changed\)"):
        study("b")
    assert {path.name for path in out.iterdir()} == {"run.json", "runs", "table.md"}
    with pytest.raises(SlonikError, match="bad corpus"), Run(tmp_path / "new", command="study", live="runs") as run:
        run.done_before({"corpus": "a"})
        raise SlonikError("bad corpus")  # nothing was made: another may be tried
    assert not (tmp_path / "new").exists()


def test_other_processes_of_a_run_check_and_write_nothing(tmp_path: Path, lines: list[str]) -> None:
    out = tmp_path / "model"
    with Run(out, command="pretrain") as first:
        with Run(out, command="pretrain", main=False, announce=lines.append) as second:
            assert not second.done_before({})
            second.announce("said twice")
        assert (work_folder(out) / "lock").exists() and lines == []
        with first.result():
            pass


def test_a_failed_run_tells_those_who_call_the_library_what_is_left(tmp_path: Path) -> None:
    with pytest.raises(SlonikError) as caught, Run(tmp_path / "out", command="make") as run:
        run.step("trim", {}, "trimming", lambda folder: {"kept": 1})
        raise SlonikError("no more")
    assert "the same command goes on" in caught.value.__notes__[0]


def test_copies_of_what_was_given_in_memory_are_no_work_that_a_failed_run_keeps(tmp_path: Path) -> None:
    with pytest.raises(SlonikError) as caught, Run(tmp_path / "out", command="make") as run:
        write_text(run.folder / GIVEN / "corpus.jsonl", "{}")
        raise SlonikError("too few texts")
    assert not hasattr(caught.value, "__notes__")
    assert list(tmp_path.iterdir()) == []


def half_written(folder: Path, name: str) -> Path:
    """What a process that was killed while it wrote `name` into `folder` left there."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    folder.mkdir(parents=True, exist_ok=True)
    left = folder / f".slonik-tmp-{machine()}-{dead.pid}-0a1b2c3d-{name}"
    left.write_text("{")
    return left


def test_what_the_dead_left_half_written_is_no_other_layout_and_goes(tmp_path: Path) -> None:
    left = half_written(tmp_path / "out.steps", "format.json")
    with Run(tmp_path / "out", command="compress") as run:
        assert not left.exists()
        run.step("trim", {}, "trimming", make)
    assert run.folder.is_dir()
    for place, name in (("study", "run.json"), ("study/runs", "format.json")):
        left = half_written(tmp_path / place, name)
        with pytest.raises(KeyboardInterrupt), Run(tmp_path / "study", command="study", live="runs") as run:
            assert not run.done_before({"corpus": "a"}) and not left.exists()
            run.step("one", {}, "one", make)
            raise KeyboardInterrupt


def test_steps_whose_removal_was_interrupted_are_gone_on_from_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    def once() -> bool:
        with Run(tmp_path / "out", command="pretrain", resume=True) as run:
            if run.done_before({"corpus": "a"}):
                return True
            run.step("trim", {}, "trimming", make)
            with run.result() as folder:
                write_text(folder / "model.txt", "model")
            monkeypatch.setattr("slonik.core.run.shutil.rmtree", interrupted)
        return False

    with pytest.raises(KeyboardInterrupt):
        once()
    assert (tmp_path / "out.steps" / "format.json").is_file()
    monkeypatch.undo()
    assert once() and not (tmp_path / "out.steps").exists()


def test_a_run_that_is_only_checked_makes_nothing(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").touch()
    with checking():
        with pytest.raises(Checked) as found, Run(tmp_path / "out", command="train", seed=3):
            raise AssertionError("begun")
        with pytest.raises(SlonikError, match="is there already"), Run(tmp_path / "there", command="train"):
            pass
    assert (found.value.run.out, found.value.run.seed) == (tmp_path / "out", 3)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    with Run(tmp_path / "out", command="train") as run, run.result():
        pass  # and outside of the block it runs
    assert (tmp_path / "out").is_dir()


def test_a_passport_tells_how_its_run_was_launched_and_not_how_its_parent_was(monkeypatch: pytest.MonkeyPatch) -> None:
    parent = Passport(name="a").with_step(Step(command="pretrain"))
    monkeypatch.setenv("SLONIK_LAUNCH", '{"on": "slurm", "recipe": "ab12"}')
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.delenv("SLONIK_JOB", raising=False)
    monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)
    again = Passport.model_validate_json(parent.model_dump_json()).with_step(Step(command="adapt"))
    assert [step.launch for step in again.lineage] == [None, {"on": "slurm", "recipe": "ab12", "job": "7"}]


def test_a_folder_that_is_taken_says_what_the_command_changes(tmp_path: Path) -> None:
    def made(out: str, options: dict[str, Any], inputs: dict[str, Any] | None) -> None:
        source = None if inputs is None else lambda: inputs
        with Run(tmp_path / out, command="compress", config=options, made_from=source) as run, run.result() as folder:
            (folder / "model.bin").write_text("x")
            Passport(name="small", lineage=(run.passport_step(),)).write(folder)

    for inputs in (None, {"recipe": {"layers": 6, "seed": 1}, "corpus": "a" * 64}):
        out = "options" if inputs is None else "inputs"
        made(out, {"layers": 6, "seed": 1, "out": out}, inputs)
        with pytest.raises(SlonikError, match=f"is not empty: .*compress made it with the same {out}"):
            made(out, {"layers": 6, "seed": 1, "out": f"./{out}"}, inputs)
    with pytest.raises(SlonikError, match=r"from other options: layers \(6 -> 4\) changed"):
        made("options", {"layers": 4, "seed": 1}, None)
    with pytest.raises(SlonikError, match=r"from other inputs: recipe.layers \(6 -> 4\), corpus changed"):
        made("inputs", {}, {"recipe": {"layers": 4, "seed": 1}, "corpus": "b" * 64})
    with (
        pytest.raises(SlonikError, match=r"choose another --out or remove it$"),
        Run(tmp_path / "inputs", command="export"),
    ):
        pass
