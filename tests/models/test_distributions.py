"""Installed models: found by their entry point, refused when cut or altered, and the default where none is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from typer.testing import CliRunner

import slonik
from slonik.cli.main import build_app
from slonik.core.errors import SlonikError
from slonik.core.passport import FILE_NAME
from slonik.core.version import __version__
from slonik.exporting.package.distribution import model_folder, write_distribution
from slonik.exporting.package.licences import Origin
from slonik.models import distributions, embedded
from slonik.models.embedded import packed
from slonik.models.kinds import exported_folder, kind_of
from slonik.runtime.static import StaticEncoder, quantised
from tests.installed import install

TEXTS = ["слон идёт домой", "слон"]
WORDS = ["[UNK]", "слон", "идёт", "домой"]


def _static(root: Path, name: str) -> Path:
    """A distribution of a static model."""
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    vectors = np.random.default_rng(0).normal(size=(len(WORDS), 16)).astype(np.float32)
    folder = model_folder(root, name)
    folder.mkdir(parents=True)
    StaticEncoder(quantised(vectors, "int8"), tokenizer).write(folder)
    origins = [Origin("teacher", "MIT", "its authors")]
    write_distribution(root, name, "1.2", kind="static", origins=origins, facts={"parameters": 64})
    return folder


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an installed model called tiny-static."""
    _static(tmp_path / "one", "tiny-static")
    return install(monkeypatch, tmp_path / "one", "tiny-static")


def test_an_installed_model_is_found_and_named(model: Path) -> None:
    found = distributions.find("tiny-static")
    assert found is not None and (found.version, found.kind, found.folder) == ("1.2", "static", model)
    assert distributions.find("another") is None
    assert "tiny-static" in distributions.installed_names()
    assert embedded.materialise("tiny-static") == model and exported_folder("embedded:tiny-static") is None
    assert kind_of("embedded:tiny-static").name == "static"
    with pytest.raises(SlonikError, match="tiny-static"):
        slonik.load("embedded:tiny-statik")
    with pytest.raises(SlonikError, match="embedded:tiny-static"):
        slonik.load("embedded:tiny-static"[9:].replace("static", "statik"))


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (
            lambda file: file.write_bytes(file.read_bytes()[:-1]),
            "it was cut.*--force-reinstall --no-deps tiny-static",
        ),
        (lambda file: file.write_bytes(file.read_bytes()[:-1] + b"\x01"), "it was altered.*tiny-static"),
        (lambda file: file.unlink(), "lacks its file .*model.safetensors"),
    ],
)
def test_a_cut_or_altered_file_is_refused(model: Path, harm, sentence: str) -> None:
    slonik.load("embedded:tiny-static")
    harm(next(model.rglob("model.safetensors")))
    with pytest.raises(SlonikError, match=sentence):
        slonik.load("embedded:tiny-static")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"slonik": "99.1"}, rf"needs slonik 99\.1 or newer, and this is {__version__}"),
        ({"format": 2}, "is of the format 2 and the kind 'static', and this is"),
        ({"kind": "other"}, "is of the format 1 and the kind 'other'"),
        ({"files": None}, "is missing or damaged"),
        ({"files": {}}, "is missing or damaged"),
        ({"kind": ...}, "is missing or damaged"),
    ],
)
def test_a_package_for_another_slonik_is_refused(model: Path, change: dict, sentence: str) -> None:
    path = model / "distribution.json"
    content = {**json.loads(path.read_text(encoding="utf-8")), **change}
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}), encoding="utf-8")
    with pytest.raises(SlonikError, match=sentence):
        slonik.load("embedded:tiny-static")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"name":'])
def test_a_damaged_description_is_said_with_what_mends_it(model: Path, content: str) -> None:
    (model / "distribution.json").write_text(content, encoding="utf-8")
    with pytest.raises(SlonikError, match=r"is missing or damaged: install it again, pip install .* tiny-static"):
        slonik.load("embedded:tiny-static")


def test_an_entry_point_to_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, tmp_path, "tiny-lost", package="tiny_not_there")
    with pytest.raises(SlonikError, match="tiny_not_there, which is not there"):
        slonik.load("embedded:tiny-lost")


def test_without_a_model_the_first_that_ships_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(distributions, "DEFAULTS", ("tiny-mini", "tiny-static"))
    monkeypatch.setattr(embedded, "DEFAULTS", ("tiny-mini", "tiny-static"))
    for call in (slonik.load, slonik.serve):
        with pytest.raises(SlonikError, match=r"pip install tiny-mini \(in a checkout of slonik: .*models/tiny-mini"):
            call()
    with pytest.raises(SlonikError, match="embedded:tiny-mini is not installed: pip install tiny-mini"):
        slonik.load("embedded:tiny-mini")
    _static(tmp_path / "static", "tiny-static")
    install(monkeypatch, tmp_path / "static", "tiny-static")
    assert slonik.load().name == "embedded:tiny-static"
    _static(tmp_path / "mini", "tiny-mini")
    install(monkeypatch, tmp_path / "mini", "tiny-mini")
    assert slonik.load().name == "embedded:tiny-mini"
    assert [one.name for one in embedded.carried() if one.default] == ["embedded:tiny-mini"]

    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    out = tmp_path / "vectors.npy"
    for arguments, given in (([str(texts)], None), ([], texts.read_text(encoding="utf-8"))):
        out.unlink(missing_ok=True)
        done = CliRunner().invoke(build_app(), ["encode", *arguments, "--out", str(out)], input=given)
        assert done.exit_code == 0, done.output
        np.testing.assert_array_equal(np.load(out), slonik.load().encode(TEXTS))
    shown = CliRunner().invoke(build_app(), ["show", "--json", str(tmp_path / "shown.json")])
    assert shown.exit_code == 0 and "embedded:tiny-mini" in shown.output
    names = [one["name"] for one in json.loads((tmp_path / "shown.json").read_text(encoding="utf-8"))]
    assert {"embedded:tiny-static", "embedded:multilingual-e5-small", "embedded:use-multilingual-3"} <= set(names)


def test_torchs_copy_is_named_by_all_that_it_is_made_of(model: Path) -> None:
    before = packed.stamp(model)
    assert packed.stamp(model) == before
    for name in (distributions.FILE_NAME, FILE_NAME):
        (model / name).write_text((model / name).read_text() + "\n" if (model / name).is_file() else "{}")
        assert packed.stamp(model) != before
        before = packed.stamp(model)
