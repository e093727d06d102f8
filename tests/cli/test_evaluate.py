"""`slonik evaluate encodechka` and `slonik fetch`, as scripts run them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from slonik.cli import evaluate
from slonik.cli.main import add_command
from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.core.records import read_records
from tests import tiny
from tests.evaluation.encodechka.samples import write_data


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLONIK_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"), leave_out=("xnli_ru.csv",))


@pytest.fixture
def app() -> typer.Typer:
    """An application with `evaluate` and `fetch` alone."""
    made = typer.Typer()
    made.callback()(lambda: None)
    evaluate.register(made)
    add_command(made, "fetch")
    return made


def _run(app: typer.Typer, *arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_two_models_give_tables_records_and_a_paired_difference(app: typer.Typer, data: Path, tmp_path: Path) -> None:
    folder = tiny.checkpoint(tmp_path / "student")
    target = tmp_path / "found.json"
    output = _run(app, "evaluate", "encodechka", folder, "hashing_300", "--data-dir", data, "--json", target)
    assert "nli (xnli_ru.csv)" in output and "slonik fetch encodechka" in output
    for published in ("cointegrated/LaBSE-en-ru", "cointegrated/rubert-tiny2", "sergeyzh/rubert-tiny-turbo"):
        assert published in output
    assert "not measured here" in output and "embeddings" in output and "classifiers" in output
    records = read_records(target)
    keys = [(record.task, record.variant, record.model, record.metric) for record in records]
    assert len(set(keys)) == len(keys)
    assert {record.model for record in records} == {str(folder), "hashing_300", f"hashing_300 - {folder}"}
    assert "mean_s" not in {record.task for record in records}
    assert {record.variant for record in records} == {"compatible", "fixed"}
    raw = json.loads(target.read_text())
    assert all(
        {"suite", "task", "variant", "model", "metric", "value", "low", "high", "n", "seed", "seconds"} <= set(r)
        for r in raw
    )
    stamped = Passport.read(folder).records
    assert {record.model for record in stamped} == {str(folder)} and len(stamped) > 10


def test_tasks_variant_and_prefix_are_options(app: typer.Typer, data: Path, tmp_path: Path) -> None:
    target = tmp_path / "found.json"
    chosen = ("--tasks", "STS,speed", "--variant", "fixed", "--prefix", "q: ", "--json", target)
    _run(app, "evaluate", "encodechka", "hashing_300", "--data-dir", data, *chosen)
    records = read_records(target)
    assert {(record.task, record.variant) for record in records} == {("sts", "fixed"), ("speed", "fixed")}
    assert all(record.detail["prefix"] == "q: " for record in records)


def test_without_data_the_sentence_names_file_url_and_folder(app: typer.Typer, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["evaluate", "encodechka", "hashing_300", "--data-dir", str(tmp_path)])
    assert isinstance(result.exception, SlonikError)
    for part in ("stsb_dev.csv", "https://", str(tmp_path / "encodechka")):
        assert part in str(result.exception)


def test_options_of_torch_do_not_fit_an_exported_folder(app: typer.Typer, data: Path, tmp_path: Path) -> None:
    (tmp_path / "exported" / "onnx").mkdir(parents=True)
    arguments = ["evaluate", "encodechka", str(tmp_path / "exported"), "--dtype", "bfloat16", "--data-dir", str(data)]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, SlonikError) and "--dtype" in str(result.exception)


def test_fetch_of_an_unknown_suite_names_the_nearest(app: typer.Typer, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["fetch", "encodechk", "--data-dir", str(tmp_path)])
    assert isinstance(result.exception, SlonikError) and "did you mean 'encodechka'" in str(result.exception)
