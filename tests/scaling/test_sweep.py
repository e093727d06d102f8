"""A sweep runs what is not done, keeps what failed, and compares settings on the development set alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import slonik
from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.core.records import Record
from slonik.reporting.overview import collect, overview_tables
from slonik.reporting.sweeps import read_sweep, settings_of, sweep_tables
from slonik.scaling import sweep as module
from slonik.scaling.sweep import Sweep, development_metric, plan

pytestmark = pytest.mark.usefixtures("desk")
COMMAND = "pretrain tiny.yaml --corpus ru.txt"
LOSSES = {("1e-3", 0): 0.5, ("1e-3", 1): 0.7, ("3e-3", 0): 0.4, ("3e-3", 1): 0.6}


def _result(folder: Path, value: float, *, accuracy: float = 0.9) -> None:
    """A checkpoint as far as a sweep reads it: its training log, and a score that was measured on it."""
    folder.mkdir(parents=True)
    lines: list[dict[str, Any]] = [
        {"step": 0, "best_metric": "bits", "higher_is_better": False},
        {"step": 0, "evaluation": {"bits": 2.0, "guessed": 0.1}},
        {"step": 10, "evaluation": {"bits": value, "guessed": value / 10}},
    ]
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    record = Record(suite="encodechka", task="sts", model="m", metric="accuracy", value=accuracy, n=5)
    Passport(name="m", records=(record,)).write(folder)


def _option(words: Sequence[str], name: str) -> str:
    return words[list(words).index(name) + 1]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the runs that were started, each of which makes a result at once."""
    names: list[str] = []

    def start(words: Sequence[str], log: Path, variables: Mapping[str, str]) -> int:
        out = Path(_option(words, "--out"))
        names.append(out.name)
        rate = _option(words, "--set").partition("=")[2]
        _result(out, LOSSES[rate, int(_option(words, "--seed"))])
        return 0

    monkeypatch.setattr(module.Sweep.run, "__defaults__", (start,))
    return names


def _sweep(**options: Any) -> Any:
    values = {"set": ["train.learning_rate=1e-3,3e-3"], "seeds": 2, "out": "lr", **options}
    return slonik.sweep(values.pop("command", COMMAND), **values)


def test_every_setting_is_run_with_every_seed_and_the_best_mean_wins(started: list[str]) -> None:
    found = _sweep()
    assert started == [f"learning_rate={rate},seed={seed}" for rate in ("1e-3", "3e-3") for seed in (0, 1)]
    assert [(one.setting, one.values, one.done) for one in found.settings] == [
        ("train.learning_rate=1e-3", (0.5, 0.7), 2), ("train.learning_rate=3e-3", (0.4, 0.6), 2),
    ]  # fmt: skip
    assert found.best is not None and found.best.setting == "train.learning_rate=3e-3"
    assert found.best.mean == pytest.approx(0.5) and found.best.spread == pytest.approx(0.1414, abs=1e-4)


def test_what_is_done_is_skipped_and_more_seeds_are_added(started: list[str]) -> None:
    _sweep()
    again = _sweep()
    assert len(started) == 4 and len(again.settings) == 2
    LOSSES.update({("1e-3", 2): 0.1, ("3e-3", 2): 0.2})
    more = _sweep(seeds=3)
    assert started[4:] == ["learning_rate=1e-3,seed=2", "learning_rate=3e-3,seed=2"]
    assert [len(one.values) for one in more.settings] == [3, 3]


def test_a_run_that_fails_is_shown_with_its_sentence_and_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(words: Sequence[str], log: Path, variables: Mapping[str, str]) -> int:
        out = Path(_option(words, "--out"))
        if "1e-3" in out.name and "seed=1" in out.name:
            Path(variables["SLONIK_REFUSAL_FILE"]).write_text("the loss is no number at step 3\n")
            return 2
        if "3e-3" in out.name and "seed=1" in out.name:
            log.write_text("step 1\ntorch.OutOfMemoryError: CUDA out of memory\n")
            return 1
        _result(out, 0.5)
        return 0

    monkeypatch.setattr(module.Sweep.run, "__defaults__", (start,))
    said: list[str] = []
    found = _sweep(announce=said.append)
    assert [(one.done, one.failed) for one in found.settings] == [(1, 1), (1, 1)]
    first, second = found.failed.values()
    assert first == "the loss is no number at step 3 (log: lr/logs/learning_rate=1e-3,seed=1.log)"
    assert second.startswith("a process wanted more memory than its GPU has")
    assert "failed: learning_rate=1e-3,seed=1: the loss is no number at step 3" in said
    assert sweep_tables(found.rows)[1].rows[0].cells[0].plain() == "learning_rate=1e-3,seed=1"


def test_an_interruption_keeps_what_is_done_and_the_same_sweep_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []

    def start(words: Sequence[str], log: Path, variables: Mapping[str, str]) -> int:
        names.append(Path(_option(words, "--out")).name)
        if len(names) == 2:
            raise KeyboardInterrupt
        _result(Path(_option(words, "--out")), 0.5)
        return 0

    monkeypatch.setattr(module.Sweep.run, "__defaults__", (start,))
    with pytest.raises(KeyboardInterrupt):
        _sweep()
    assert sorted({row.state for row in read_sweep(Path("lr"))}) == ["done", "open"]
    assert len(_sweep().settings[0].values) == 2
    assert names[1:] == [*names[1:2], *names[1:2], *names[3:]] and len(names) == 5


def test_the_parquet_file_has_every_metric_and_report_reads_it(started: list[str], desk: Path) -> None:
    found = _sweep()
    rows = read_sweep(desk / "lr" / "sweep.parquet")
    assert rows == list(found.rows) and rows == read_sweep(desk / "lr")
    assert {(row.role, row.metric) for row in rows} == {("development", "bits"), ("measured", "accuracy")}
    (table,) = overview_tables(collect(["lr"]))
    assert table.rows[1].cells[-1].plain() == "best"
    with pytest.raises(SlonikError, match="cannot be read as Parquet"):
        (desk / "x.parquet").write_text("x")
        collect(["x.parquet"])


def test_a_test_score_chooses_nothing(started: list[str]) -> None:
    with pytest.raises(SlonikError, match=r"--by accuracy: it was measured on the result.*are bits, guessed"):
        _sweep(by="accuracy:max")
    assert len(started) == 1  # said after the first run, not after all of them
    with pytest.raises(SlonikError, match=r"has no such metric of the development set; it has bits, guessed"):
        _sweep(by="f1:max")
    found = _sweep(by="guessed:max")
    assert found.best is not None and found.best.setting == "train.learning_rate=1e-3"


def test_fewer_seeds_are_not_compared_with_more(started: list[str]) -> None:
    """A mean of one lucky seed would win."""
    rows = [row for row in _sweep().rows if not (row.setting.endswith("1e-3") and row.seed == 1)]
    first, second = settings_of(rows)
    assert (first.values, second.values) == ((0.5,), (0.4, 0.6))
    assert sweep_tables(rows)[0].rows[1].cells[-1].plain() == "best"


def test_another_sweep_is_not_overwritten(started: list[str], desk: Path) -> None:
    _sweep()
    before = (desk / "lr" / "sweep.json").read_bytes()
    with pytest.raises(SlonikError, match=r"holds the run learning_rate=1e-3,seed=0, made by other words"):
        _sweep(command=f"{COMMAND} --steps 5")
    (desk / "tiny.yaml").write_text((desk / "tiny.yaml").read_text() + "\n# changed\n")
    with pytest.raises(SlonikError, match=r"is of another sweep \(its recipe is of another content\)"):
        _sweep()
    assert (desk / "lr" / "sweep.json").read_bytes() == before
    (desk / "mine").mkdir()
    (desk / "mine" / "file").touch()
    with pytest.raises(SlonikError, match="is not empty: choose another --out"):
        _sweep(out="mine")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"set": ["train.learning_rat=1,2"]}, r"unknown field 'train.learning_rat'"),
        ({"set": ["train.learning_rate=-1,1"]}, r"'train.learning_rate' is -1"),
        ({"set": ["seed"]}, r"--set 'seed' is not of the form KEY=VALUE"),
        ({"set": ["length=32,,64"]}, r"has a value twice, or one that is empty"),
        ({"set": ["length=32,64", "length=16"]}, r"names a field twice"),
        ({"set": [], "seeds": None}, r"one run is no sweep"),
        ({"command": f"{COMMAND} --seed 3"}, r"was given --seed: leave --seeds out"),
        ({"command": f"{COMMAND} --set length=8"}, r"--set is the sweep's"),
        ({"command": "pretrian tiny.yaml"}, r"No such command"),
        ({"time": "1h"}, r"--time does nothing without --on"),
        ({"by": "bits"}, r"--by 'bits' is not METRIC:min or METRIC:max"),
        ({"on": "nowhere"}, r"unknown place to launch on 'nowhere'"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_and_nothing_is_written(options: dict[str, Any], sentence: str, desk: Path) -> None:
    before = sorted(desk.iterdir())
    with pytest.raises(SlonikError, match=sentence):
        _sweep(**options)
    assert sorted(desk.iterdir()) == before


def test_values_in_brackets_are_one_and_names_are_those_of_files() -> None:
    runs = plan(["x"], ["betas=[0.9, 0.98],[0.9, 0.99]", "name='a,b',c/d", "k=1"], None, Path("o"), lambda seed: [])
    assert [run.settings["betas"] for run in runs] == ["[0.9, 0.98]", "[0.9, 0.98]", "[0.9, 0.99]", "[0.9, 0.99]"]
    assert len({run.name for run in runs}) == 4 and not any("/" in run.name for run in runs)
    assert all("k=1" in run.words and "k" not in run.settings for run in runs)


def test_a_recipe_alone_says_which_command_it_is_of(started: list[str]) -> None:
    _sweep(command="tiny.yaml")
    record = json.loads(Path("lr/sweep.json").read_text())
    assert record["command"] == "pretrain" and len(started) == 4


def test_on_a_scheduler_the_runs_that_are_not_done_are_an_array(
    started: list[str], scheduler: Callable[[str, str], Path]
) -> None:
    scheduler("sbatch", "31")
    scheduler("squeue", "31_0|RUNNING|None")
    _result(Path("lr/runs/learning_rate=1e-3,seed=1"), 0.5)
    Path("lr/sweep.json").write_text(json.dumps({"format": 1, "command": "pretrain", "recipe": None, "runs": {}}))
    with pytest.raises(SlonikError, match="is of another sweep"):
        _sweep(on="slurm", submit=True, time="1h", gpus=0)
    Path("lr/sweep.json").unlink()
    for path in sorted(Path("lr").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    said: list[str] = []
    found = _sweep(on="slurm", submit=True, time="1h", gpus=0, announce=said.append)
    text = Path("lr/jobs-1.launch/job.sbatch").read_text()
    assert "#SBATCH --array=0-3" in text and text.count("command=(pretrain") == 4 and started == []
    assert len(found.open) == 4 and said[-1] == "4 runs, job 31: slonik launch status lr/jobs-1"
    _sweep(on="slurm", submit=True, time="1h", gpus=0, announce=said.append)
    assert said[-1].startswith("lr/jobs-1 has not ended (0 of 1 jobs have)")
    scheduler("squeue", "31_0|COMPLETED|None")
    _result(Path("lr/runs/learning_rate=1e-3,seed=1"), 0.5)
    found = _sweep(on="slurm", submit=True, time="1h", gpus=0)
    assert "#SBATCH --array=0-2" in Path("lr/jobs-2.launch/job.sbatch").read_text()
    assert found.settings[0].values == (0.5,)


def test_the_log_of_a_run_tells_its_development_metric(tmp_path: Path) -> None:
    _result(tmp_path / "a", 0.25)
    assert development_metric(tmp_path / "a") == ("bits", 0.25, False)
    (tmp_path / "a" / "metrics.jsonl").write_text('{"step": 0, "evaluation": {"bits": 1.0}}\n')
    assert development_metric(tmp_path / "a") is None
    assert development_metric(tmp_path / "none") is None


def test_a_run_is_a_process_of_its_own_whose_words_go_into_its_log(tmp_path: Path) -> None:
    code = module.started(["no-such-command"], tmp_path / "log", {"SLONIK_REFUSAL_FILE": str(tmp_path / "r")})
    assert code == 2 and "No such command" in (tmp_path / "log").read_text()
    assert isinstance(Sweep, type)
