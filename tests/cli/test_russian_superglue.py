"""`slonik evaluate russian-superglue` and `slonik ensemble`, as scripts run them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from slonik.cli import evaluate
from slonik.cli.main import add_command
from slonik.core.errors import SlonikError
from slonik.core.records import read_records
from slonik.evaluation.russian_superglue.tasks import TASKS
from tests.evaluation.russian_superglue import samples
from tests.evaluation.russian_superglue.samples import write_data, write_rows


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


def _call(*arguments: object):  # type: ignore[no-untyped-def]
    app = typer.Typer()
    app.callback()(lambda: None)
    evaluate.register(app)
    add_command(app, "ensemble")
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def _run(*arguments: object) -> str:
    result = _call(*arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return str(result.output)


def test_a_baseline_is_scored_on_nine_tasks_with_the_others_beside(data: Path, tmp_path: Path) -> None:
    target = tmp_path / "found.json"
    output = _run("evaluate", "russian-superglue", "majority", "--data-dir", data, "--json", target)
    assert "HUMAN BENCHMARK" in output and "RWSD" in output and "What is measured on" in output
    records = read_records(target)
    keys = [(r.task, r.variant, r.model, r.metric) for r in records]
    assert len(set(keys)) == len(keys)
    assert {r.model for r in records} == {"majority", "random_weighted", "heuristic_majority", "tfidf"}
    own = [r for r in records if r.model == "majority"]
    assert {r.task for r in own} == {*TASKS, "score"}
    assert {(r.task, r.metric) for r in own} >= {
        ("muserc", "f1a"),
        ("muserc", "em"),
        ("rcb", "macro_f1"),
        ("rucos", "f1"),
        ("lidirus", "matthews"),
        ("score", "score"),
    }
    raw = json.loads(target.read_text(encoding="utf-8"))
    fields = {"suite", "task", "variant", "model", "metric", "value", "low", "high", "n", "seed", "seconds"}
    assert all(fields <= set(found) and found["hashes"]["data"] for found in raw)
    assert all(-1 <= found["value"] <= 1 for found in raw)


def test_tasks_and_split_are_options_and_missing_data_is_said(tmp_path: Path) -> None:
    folder = write_data(tmp_path, leave_out=("DaNetQA/val.jsonl", "DaNetQA/train.jsonl"))
    target = tmp_path / "found.json"
    common = ("--data-dir", folder, "--json", target, "--no-baselines", "--no-published")
    output = _run("evaluate", "russian-superglue", "majority", *common)
    assert "danetqa (russian_superglue/DaNetQA/" in output
    assert "has 3 rows, the official val of TERRa has 307: results on it do not compare" in output
    assert "score" not in {r.task for r in read_records(target)}
    _run("evaluate", "russian-superglue", "majority", *common, "--tasks", "TERRa,rcb", "--split", "train_dev")
    assert {(r.task, r.detail["split"]) for r in read_records(target)} == {("terra", "train_dev"), ("rcb", "train_dev")}


def test_saved_predictions_are_scored_again_to_the_same_values(data: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    common = ("--data-dir", data, "--no-published", "--no-baselines")
    _run("evaluate", "russian-superglue", "tfidf", *common, "--json", first, "--predictions", tmp_path / "p")
    _run("evaluate", "russian-superglue", tmp_path / "p" / "tfidf", *common, "--json", second)
    values = [{(r.task, r.metric): (r.value, r.low, r.high) for r in read_records(path)} for path in (first, second)]
    assert values[0] == values[1] and len(values[0]) == 16


def test_models_have_paired_differences_with_every_baseline(data: Path, tmp_path: Path) -> None:
    _run(
        "evaluate", "russian-superglue", "tfidf", "--data-dir", data, "--no-published", "--no-baselines",
        "--predictions", tmp_path / "p",
    )  # fmt: skip
    target, model = tmp_path / "found.json", tmp_path / "p" / "tfidf"
    _run("evaluate", "russian-superglue", model, "--data-dir", data, "--json", target, "--no-published")
    found = [r for r in read_records(target) if r.metric == "difference" and r.task == "terra"]
    assert {r.model for r in found} == {
        f"{model} - {name}" for name in ("majority", "random_weighted", "heuristic_majority", "tfidf")
    }
    same = next(r for r in found if r.detail["against"] == "tfidf")
    assert (same.value, same.low, same.high, same.detail["mcnemar_p"]) == (0, 0, 0, 1)


def test_predictions_of_several_splits_meet_on_a_common_one(tmp_path: Path) -> None:
    folder = write_data(tmp_path / "data")
    write_rows(folder / "russian_superglue" / "LiDiRus" / "val_crowd.jsonl", samples.LIDIRUS[:4])
    common = ("--data-dir", folder, "--tasks", "lidirus", "--no-published", "--no-baselines")
    for name in ("majority", "tfidf"):
        _run("evaluate", "russian-superglue", name, *common, "--predictions", tmp_path / "p")
    _run(
        "evaluate", "russian-superglue", "tfidf", *common, "--predictions", tmp_path / "p", "--split", "val_crowd",
    )  # fmt: skip
    both = (tmp_path / "p" / "majority", tmp_path / "p" / "tfidf")
    target = tmp_path / "found.json"
    for models in (both, both[::-1]):
        _run("evaluate", "russian-superglue", *models, *common, "--json", target)
        scores = [r for r in read_records(target) if r.metric == "matthews"]
        assert {r.detail["split"] for r in scores} == {"test"} and len(scores) == 2
    crowd = tmp_path / "q"
    _run("evaluate", "russian-superglue", "majority", *common, "--predictions", crowd, "--split", "val_crowd")
    result = _call("evaluate", "russian-superglue", both[0], crowd / "majority", *common)
    assert "answers other items of lidirus than" in str(result.exception)


def test_a_submission_is_written_checked_and_can_be_scored(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "submission.zip"
    common = ("--data-dir", data, "--no-published", "--no-baselines")
    output = _run("evaluate", "russian-superglue", "heuristic_majority", *common, "--submission", path)
    assert "submission:" in output and "TERRa 3" in output
    with zipfile.ZipFile(path) as archive:
        assert len(archive.namelist()) == 9
    labelled = write_data(tmp_path / "labelled", tests=False)
    base = labelled / "russian_superglue"
    for name, rows in samples.ROWS.items():  # as the organisers have it: tests with labels
        write_rows(base / name / "test.jsonl", rows[len(rows) // 2 + len(rows) // 4 :])
    target = tmp_path / "found.json"
    _run("evaluate", "russian-superglue", path, "--data-dir", labelled, "--json", target, "--no-baselines")
    records = read_records(target)
    assert {r.detail.get("split") for r in records if r.task in TASKS} == {"test"}
    assert "score" in {r.task for r in records}


def test_an_incomplete_submission_is_refused_by_name_and_nothing_is_overwritten(data: Path, tmp_path: Path) -> None:
    target = tmp_path / "submission.zip"
    target.write_bytes(b"old")
    _run(
        "evaluate", "russian-superglue", "majority", "--data-dir", data, "--no-published", "--no-baselines",
        "--predictions", tmp_path / "p",
    )  # fmt: skip
    result = _call(
        "evaluate", "russian-superglue", tmp_path / "p" / "majority", "--data-dir", data, "--submission", target
    )
    assert isinstance(result.exception, SlonikError)
    assert "all nine tasks" in str(result.exception) and "MuSeRC" in str(result.exception)
    few = write_data(tmp_path / "few")
    (few / "russian_superglue" / "PARus" / "test.jsonl").unlink()
    result = _call("evaluate", "russian-superglue", "majority", "--data-dir", few, "--submission", target)
    assert "test files are missing for PARus" in str(result.exception)
    result = _call("evaluate", "russian-superglue", "majority", "tfidf", "--data-dir", data, "--submission", target)
    assert "one model, 2 are named" in str(result.exception)
    assert target.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda folder: "majorty", "there is no model 'majorty' for Russian SuperGLUE: give a baseline"),
        (lambda folder: folder, "answers no task of Russian SuperGLUE"),
    ],
)
def test_what_is_no_model_is_said(make, sentence: str, data: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    result = _call("evaluate", "russian-superglue", make(tmp_path), "--data-dir", data)
    assert isinstance(result.exception, SlonikError) and sentence in str(result.exception)


def test_ensemble_of_baselines_from_their_predictions(data: Path, tmp_path: Path) -> None:
    _run(
        "evaluate", "russian-superglue", "majority", "tfidf", "heuristic_majority", "--data-dir", data,
        "--no-published", "--no-baselines", "--predictions", tmp_path / "p", "--tasks", "lidirus",
    )  # fmt: skip
    out, target = tmp_path / "out", tmp_path / "found.json"
    output = _run("ensemble", tmp_path / "p", "--data-dir", data, "--method", "vote", "--out", out, "--json", target)
    assert "share answered differently" in output and (out / "lidirus.test.jsonl").is_file()
    assert "ensemble: vote" in {record.model for record in read_records(target)}
    again = _run("evaluate", "russian-superglue", out, "--data-dir", data, "--no-published", "--no-baselines")
    assert "LiDiRus" in again


def test_a_task_model_is_run_its_model_of_terra_answers_lidirus_and_its_passport_grows(
    data: Path, tmp_path: Path
) -> None:
    from slonik import models
    from slonik.core.passport import Passport
    from slonik.finetuning.tasks import task_config
    from slonik.models.task_model import new_task_model, save_task_model
    from tests import tiny

    encoder = models.load(tiny.checkpoint(tmp_path / "encoder"))
    save_task_model(new_task_model(encoder, task_config("terra")), tmp_path / "terra", encoder.passport)
    target = tmp_path / "found.json"
    common = ("--data-dir", data, "--json", target, "--no-published", "--no-baselines")
    output = _run("evaluate", "russian-superglue", tmp_path / "terra", *common, "--predictions", tmp_path / "p")
    assert "DaNetQA" not in output and "not scored" not in output  # nothing that the model does not answer
    records = read_records(target)
    assert {(r.task, r.detail["split"]) for r in records} == {("terra", "val"), ("lidirus", "test")}
    assert {r.model for r in records} == {str(tmp_path / "terra")}
    stamped = Passport.read(tmp_path / "terra").records
    assert {(r.task, r.value) for r in stamped} == {(r.task, r.value) for r in records}
    saved = (tmp_path / "p" / "terra" / "terra.val.jsonl").read_text(encoding="utf-8").splitlines()
    assert all(set(json.loads(line)["probabilities"]) == {"entailment", "not_entailment"} for line in saved)
    result = _call(
        "evaluate", "russian-superglue", tmp_path / "terra", "--data-dir", data, "--submission", tmp_path / "s"
    )
    assert "predictions are missing for RCB, PARus" in str(result.exception)
    result = _call("evaluate", "russian-superglue", tmp_path / "terra", "--data-dir", data, "--tasks", "rcb,parus")
    assert "terra answers none of rcb, parus" in str(result.exception)
