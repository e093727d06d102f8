"""Distributions: one file of numbers for onnxruntime and torch, nothing lost; what cannot ship is refused.

The command of docs/models.md runs here, on a static model.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from typer.testing import CliRunner

import slonik
from slonik.cli.main import build_app
from slonik.core.errors import SlonikError
from slonik.core.files import copy_folder
from slonik.core.passport import Passport, Step
from slonik.exporting import parity, precision
from slonik.exporting.package.licences import origins_of
from slonik.exporting.package.run import PackageReport, package
from slonik.models import load
from slonik.models.checkpoint_files import read_tensors
from slonik.models.embedded.packed import read_parameters
from slonik.models.names import WEIGHTS_FILE
from slonik.runtime.session import open_session
from slonik.runtime.static import StaticEncoder, quantised
from slonik.text.tensors import read_arrays
from slonik.text.tensors import read_tensors as values_of
from tests import tiny
from tests.installed import install
from tests.tiny.layouts import LAYOUTS

NAME = "tiny-ru"
LOW = {"fp32": {"max_difference": 1e-3}, "dynamic": {"mean_cosine": 0.5, "min_cosine": 0.2}}
"""Random models are at the mercy of int8 products that saturate on processors without VNNI."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with a token type, whose exporter joins and turns matrices, and with a Dense behind the vectors."""
    root = tmp_path_factory.mktemp("source")
    LAYOUTS["dense after normalize"](root / "whole", tiny.checkpoint(root / "plain", "bert"))
    step = Step(
        command="distill", config={"teachers": ["embedded:multilingual-e5-small", "embedded:use-multilingual-3"]}
    )
    Passport(name="whole", origin="intfloat/multilingual-e5-small").with_step(step).write(root / "whole")
    return root / "whole"


@pytest.fixture(scope="module")
def made(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PackageReport]:
    """Its distribution; tables are in int8 and channels divided down however little it is worth."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parity, "floors", lambda: LOW)
        patch.setattr(parity, "_PARITY_TEXTS", 40)
        patch.setattr(precision, "SMALLEST_TABLE", 1024)
        patch.setattr(precision, "WORTH_DIVIDING", 1.0)
        yield package(source, tmp_path_factory.mktemp("models") / NAME, version="0.2.0")


def test_torchs_weights_are_within_half_a_step_of_what_they_were(source: Path, made: PackageReport) -> None:
    packed = made.folder / "onnx" / WEIGHTS_FILE
    before, after = values_of(source / "model.safetensors"), read_parameters(packed)
    stored = read_arrays(packed)
    assert {name for name in before if "pooler" not in name} == set(after)
    coded = {part for name in stored if name.endswith(":codes") for part in name.removesuffix(":codes").split("+")}
    assert len(coded) == 2 * 6 + 2  # six matrices of each layer, three of them joined; tables of words and positions
    assert any(name.endswith(":divisors") for name in stored)
    positions, types = "embeddings.position_embeddings.weight", "embeddings.token_type_embeddings.weight"
    before[positions] = before[positions] + before[types][0]
    before[types] = np.zeros_like(before[types])
    for name, value in after.items():
        step = np.abs(before[name]).max() / 127 if name in coded else 0.0
        np.testing.assert_allclose(value, before[name], atol=step, err_msg=name)
    assert sum(value.nbytes for value in stored.values()) < 0.5 * sum(
        item.bytes for item in read_tensors(source).values()
    )


def test_onnxruntime_reads_the_same_numbers_as_from_a_file_of_one_piece(made: PackageReport, tmp_path: Path) -> None:
    path = made.folder / "onnx" / "model_quantized.onnx"
    whole = onnx.load(path)  # with its external data
    bare = onnx.load(path, load_external_data=False)
    assert sum(item.data_location == onnx.TensorProto.EXTERNAL for item in bare.graph.initializer) > 20
    onnx.save(whole, tmp_path / "whole.onnx")
    ids = np.array([[2, 17, 99, 3]])
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    split, one = (open_session(file, threads=1).run(None, feed) for file in (path, tmp_path / "whole.onnx"))
    for left, right in zip(split, one, strict=True):
        np.testing.assert_array_equal(left, right)


def test_it_opens_by_its_name_without_torch_and_with_it(
    made: PackageReport, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert made.checkpoint is not None
    install(monkeypatch, made.checkpoint, NAME)
    monkeypatch.setenv("SLONIK_CACHE", str(tmp_path))
    fast, slow = slonik.load(f"embedded:{NAME}"), slonik.load(f"embedded:{NAME}", backend="torch")
    assert type(fast).__name__ == "OnnxEncoder" and type(slow).__name__ == "TorchEncoder"
    ours, torchs = fast.encode(tiny.TEXTS[:20]), slow.encode(tiny.TEXTS[:20])
    cosines = (ours * torchs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(torchs, axis=1)
    assert cosines.mean() > 0.9
    assert fast.name == f"embedded:{NAME}" and fast.describe()["bytes"] > made.sizes[f"onnx/{WEIGHTS_FILE}"]
    assert [step.command for step in slow.passport.lineage] == ["distill", "package", "embedded"]
    shown = slonik.show(f"embedded:{NAME}")
    assert shown.passport.lineage[-1].command == "package" and shown.facts["layers"] == 2
    load(f"embedded:{NAME}")  # what compress, finetune and export read is made once
    assert len(list((tmp_path / "embedded").iterdir())) == 1


def test_metadata_licences_and_hashes(made: PackageReport) -> None:
    root = made.checkpoint
    assert root is not None
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (project["name"], project["version"]) == (NAME, "0.2.0")
    assert project["license"] == "Apache-2.0 AND MIT" and "dependencies" not in project
    assert project["entry-points"] == {"slonik.models": {NAME: "tiny_ru"}}
    mit, apache = ((root / "licences" / f"{name}.txt").read_text(encoding="utf-8") for name in ("MIT", "Apache-2.0"))
    assert "intfloat/multilingual-e5-small" in mit and "Permission is hereby granted" in mit
    assert "universal-sentence-encoder" in apache and "TERMS AND CONDITIONS" in apache
    said = json.loads((made.folder / "distribution.json").read_text(encoding="utf-8"))
    assert {f"onnx/{WEIGHTS_FILE}", "tokenizer.json", "config.json"} <= set(said["files"])
    assert said["kind"] == "encoder" and said["facts"]["parameters"] > 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"name": "Tiny_RU"}, "--name is 'Tiny_RU'"),
        ({"name": "multilingual-e5-small"}, "another package carries"),
        ({"version": "first"}, "--version is 'first'"),
        ({"licences": {"navec": "CC-BY-NC"}}, "CC-BY-NC"),
    ],
)
def test_names_versions_and_licences_that_are_none_are_refused(
    tmp_path: Path, static: Path, options: dict, sentence: str
) -> None:
    with pytest.raises(SlonikError, match=sentence):
        package(static, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = ["[UNK]", "слон", "идёт", "домой"]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    folder = tmp_path_factory.mktemp("static")
    vectors = np.random.default_rng(0).normal(size=(len(words), 16)).astype(np.float32)
    StaticEncoder(quantised(vectors, "int8"), tokenizer).write(folder)
    return folder


def test_a_static_model_is_copied_and_opens(static: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SlonikError, match="--licence NAME="):
        package(static, tmp_path / "tiny-static")
    copy_folder(static, tmp_path / "mine")
    made = package(tmp_path / "mine", tmp_path / "tiny-static", licences={"teacher": "MIT"})
    assert made.kind == "static" and made.checkpoint is not None
    install(monkeypatch, made.checkpoint, "tiny-static")
    texts = ["слон идёт домой", "слон"]
    encoder = slonik.load("embedded:tiny-static")
    np.testing.assert_array_equal(encoder.encode(texts), slonik.load(static).encode(texts))
    assert encoder.name == "embedded:tiny-static"


def test_the_command_of_the_guide_makes_a_package(
    static: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "how.md").write_text("By hand, from CC0 texts.", encoding="utf-8")
    words = f"package {static} --out models/my-encoder --version 0.1.0 --licence my-teacher=Apache-2.0 --about how.md"
    done = CliRunner().invoke(build_app(), words.split())
    assert done.exit_code == 0, done.output
    assert "pip install models/my-encoder" in done.output
    assert "By hand, from CC0 texts." in (tmp_path / "models/my-encoder/README.md").read_text(encoding="utf-8")


def test_a_licence_of_nothing_known_is_asked_about() -> None:
    step = Step(command="finetune", license="MIT, CC-BY-4.0")
    passport = Passport(name="mine", origin="embedded:multilingual-e5-small").with_step(step)
    with pytest.raises(SlonikError, match=r"the step finetune of mine .* under CC-BY-4\.0"):
        origins_of(passport)
    named = origins_of(passport.model_copy(update={"lineage": ()}), {"multilingual-e5-small": "MIT", "other": "MIT"})
    assert [origin.holder for origin in named] == ["Microsoft Corporation", "the authors of other"]


def test_what_is_no_sentence_encoder_is_refused(made: PackageReport, tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match=r"an encoder \(bert\)"):
        package(made.folder, tmp_path / "again")
    decoder = tiny.checkpoint(tmp_path / "gpt2", "gpt2", sentence=False)
    with pytest.raises(SlonikError, match="a decoder"):
        package(decoder, tmp_path / "again")
