"""The one shape of measuring functions: models by name or loaded, records and tables out, silent unless asked."""

from __future__ import annotations

from pathlib import Path

import pytest

import slonik
from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.core.records import Record
from slonik.evaluation.encodechka.suite import encodechka
from slonik.evaluation.russian_superglue.predictions import Prediction
from slonik.evaluation.russian_superglue.suite import russian_superglue
from slonik.evaluation.russian_superglue.systems import System
from slonik.evaluation.suite import Evaluation, opened, several
from slonik.models.baselines import HashingEncoder
from tests import tiny
from tests.evaluation.encodechka.samples import write_data
from tests.evaluation.russian_superglue import samples


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLONIK_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    samples.write_data(root)
    return write_data(root)


def _without_time(records: tuple[Record, ...]) -> list[Record]:
    drop = ("embedding_seconds", "classifier_seconds")
    return [
        one.model_copy(
            update={"seconds": None, "detail": {key: value for key, value in one.detail.items() if key not in drop}}
        )
        for one in records
    ]


def test_a_loaded_encoder_is_measured_as_the_one_of_its_name(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tiny.checkpoint(tmp_path / "model", "bert")
    options = {"data_dir": data, "tasks": ["sts", "ne1"]}
    capfd.readouterr()
    named = encodechka(str(folder), **options)  # type: ignore[arg-type]
    loaded = slonik.load(folder)
    loaded.name = str(folder)
    assert _without_time(encodechka([loaded], **options).records) == _without_time(named.records)  # type: ignore[arg-type]
    assert isinstance(named, Evaluation) and named.tables and named.seconds > 0
    assert any("not the published file" in sentence for sentence in named.warnings)
    assert any("texts encoded" in sentence for sentence in named.notes)
    assert "".join(capfd.readouterr()) == ""


def test_several_models_are_compared_and_folders_stamped_when_asked(data: Path, tmp_path: Path) -> None:
    folder = tiny.checkpoint(tmp_path / "model", "bert")
    found = encodechka([folder, HashingEncoder("h", 64)], data_dir=data, tasks=["sts"], passport=True)
    assert {record.model for record in found.records} == {str(folder), "h", f"h - {folder}"}
    assert {record.model for record in Passport.read(folder).records} == {str(folder)}
    encodechka(folder, data_dir=data, tasks=["pi"])
    assert {record.task for record in Passport.read(folder).records} == {"sts"}


def test_systems_of_russian_superglue_are_names_or_objects(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    always = System("always", lambda part: [Prediction(e.idx, part.task.labels[0]) for e in part.examples])
    told: list[tuple[str, str]] = []
    found = russian_superglue(
        ["majority", always], data_dir=data, tasks=["terra"], on_task=lambda *what: told.append(what)
    )
    assert {"majority", "always", "always - majority"} <= {record.model for record in found.records}
    assert ("always", "terra") in told
    assert {table.title for table in found.tables} >= {"What is measured on"}
    assert "".join(capfd.readouterr()) == ""


def test_one_string_is_one_task(data: Path) -> None:
    assert {one.task for one in encodechka(HashingEncoder("h", 64), data_dir=data, tasks="sts").records} == {"sts"}
    found = russian_superglue("majority", data_dir=data, tasks="terra", baselines=False)
    assert {one.task for one in found.records} == {"terra"}
    with pytest.raises(SlonikError, match="unknown probing task 'sts'"):
        slonik.evaluate(HashingEncoder("h", 64), "probing", data_dir=data, tasks="sts")


def test_no_model_and_options_that_do_not_fit_are_one_sentence(data: Path, tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match="no model to measure"):
        encodechka([], data_dir=data)
    with pytest.raises(SlonikError, match=r"h is loaded already: leave out --device"):
        opened(HashingEncoder("h", 8), device="cpu")
    with pytest.raises(SlonikError, match="say with `run` what answers"):
        russian_superglue(object(), data_dir=data, tasks=["terra"])


def test_a_model_that_is_named_twice_is_measured_once_and_told(capfd: pytest.CaptureFixture[str]) -> None:
    assert several(["a", "b", "a"]) == ["a", "b"]
    assert "a is named more than once: it is measured once" in capfd.readouterr().err
