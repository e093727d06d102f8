"""`slonik show`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import slonik
from slonik.cli.main import add_command
from slonik.core.errors import SlonikError
from slonik.core.passport import Passport, Step
from slonik.core.records import Record
from slonik.text.pipeline import Dense, Pooling
from slonik.text.sentence_config import SentenceConfig
from tests import tiny


@pytest.fixture
def app() -> typer.Typer:
    """An application with `show` alone."""
    made = typer.Typer()
    made.callback()(lambda: None)
    add_command(made, "show")
    return made


def test_everything_known_is_shown(app: typer.Typer, tmp_path: Path) -> None:
    folder = tiny.checkpoint(tmp_path / "student")
    passport = Passport(name="student", origin="teacher").with_step(
        Step(command="compress", config={"layers": 2}, inputs={"corpus": "ab" * 32}, seed=7, seconds=1.5)
    )
    record = Record(
        suite="encodechka",
        task="sts",
        variant="fixed",
        model="student",
        metric="spearman",
        value=0.81,
        low=0.8,
        high=0.82,
        n=1500,
    )
    passport.with_records([record]).write(folder)
    result = CliRunner().invoke(app, ["show", str(folder), "--json", str(tmp_path / "show.json")])
    assert result.exit_code == 0, result.output
    for part in (
        "BertModel",
        "stock AutoModel",
        "compress",
        "abababababab",
        "encodechka",
        "0.8100",
        "[0.800, 0.820]",
        "teacher",
    ):
        assert part in result.output
    told = str(slonik.show(folder)).splitlines()
    assert {"kind: BertModel / bert", "lineage: compress", "records: 1", "origin: teacher"} <= set(told)
    assert len(told) <= 12
    content = json.loads((tmp_path / "show.json").read_text())
    assert content["facts"]["layers"] == 2
    assert content["passport"]["records"][0]["value"] == 0.81
    assert content["sentence"]["pooling"] == "mean"
    assert str(tmp_path) not in json.dumps(content["passport"])


def test_records_of_two_models_are_told_apart(app: typer.Typer, tmp_path: Path) -> None:
    folder = tiny.checkpoint(tmp_path / "student")
    old = Record(suite="speed", task="texts", variant="cpu", model="teacher-9", metric="ms", value=2.0)
    new = Record(suite="speed", task="texts", variant="cpu", model="student", metric="ms", value=1.0)
    Passport(name="student").with_records([old, new]).write(folder)
    result = CliRunner().invoke(app, ["show", str(folder)])
    rows = [line for line in result.output.splitlines() if "speed" in line]
    assert ["teacher-9" in row for row in rows] == ["2.0000" in row for row in rows] and len(rows) == 2


def test_baseline_and_exported_folder(app: typer.Typer, tmp_path: Path) -> None:
    assert "hashing" in CliRunner().invoke(app, ["show", "hashing_300"]).output
    assert "dimension: 300" in str(slonik.show("hashing_300"))
    folder = tiny.checkpoint(tmp_path / "exported")
    (folder / "model.safetensors").unlink()
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(b"0" * 1000)
    result = CliRunner().invoke(app, ["show", str(folder)])
    assert "onnxruntime" in result.output and "onnx/model.onnx" in result.output


def test_the_dimension_is_that_of_the_last_module(app: typer.Typer, tmp_path: Path) -> None:
    folder = tiny.checkpoint(tmp_path / "dense")
    weight = np.ones((12, 32), dtype=np.float32)
    SentenceConfig((Pooling(("mean",)), Dense(weight)), max_length=64, truncate_dim=10).write(folder, 32)
    assert "dimension: 10" in str(slonik.show(folder)) and slonik.show(folder).facts["hidden"] == 32
    assert "10 dimensions" in CliRunner().invoke(app, ["show", str(folder)]).output
    SentenceConfig((Pooling(("cls", "mean")), Dense(weight)), max_length=64).write(folder, 32)
    with pytest.raises(SlonikError, match="takes 32 dimensions, and what stands before it gives 64"):
        slonik.show(folder)


def test_what_is_no_checkpoint(app: typer.Typer, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = CliRunner().invoke(app, ["show", str(tmp_path / "empty")])
    assert isinstance(result.exception, SlonikError)
    assert "no config.json" in str(result.exception)


def test_markup_in_a_passport_is_shown_as_text(app: typer.Typer, tmp_path: Path) -> None:
    folder = tiny.checkpoint(tmp_path / "bert")
    Passport(name="x", origin="[red]origin[/nonsense]").write(folder)
    result = CliRunner().invoke(app, ["show", str(folder)])
    assert result.exit_code == 0 and "[red]origin[/nonsense]" in result.output


def test_a_long_life_fits_a_screen_and_all_shows_each_of_it(app: typer.Typer, tmp_path: Path) -> None:
    folder = tiny.checkpoint(tmp_path / "bert")
    passport = Passport(name="x", origin="y")
    for number in range(8):
        config = {f"setting{n}": {"nested": n} for n in range(30)} | {"layers": [1] * 12, "name": "w" * 300}
        step = Step(command=f"step{number}", config=config, summary={"pieces_before": 9, "pieces_after": 3}, seconds=60)
        passport = passport.with_step(step)
    tasks = [("mean_s5", "mean"), *((f"task{number}", "accuracy") for number in range(90))]
    records = [
        Record(suite="encodechka", task=task, metric=metric, model="x", value=0.5, low=0.4, high=0.6)
        for task, metric in tasks
    ]
    passport.with_records(records).write(folder)
    shown = CliRunner().invoke(app, ["show", str(folder)], env={"COLUMNS": "120"}).output
    assert len(shown.splitlines()) <= 50 and max(map(len, shown.splitlines())) <= 130
    for words in ("step7", "pieces 9 → 3", "mean_s5 mean 0.5000 [0.400, 0.600]", "91 records"):
        assert words in shown, words
    whole = CliRunner().invoke(app, ["show", str(folder), "--all"]).output
    assert "task89" in whole and "nested" in whole
