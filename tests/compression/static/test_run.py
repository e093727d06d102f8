"""Static compression end to end: a folder that everybody reads alike, proof beside it, refusals before any work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import slonik
from slonik.cli.main import main
from slonik.compression.static.config import StaticRecipe
from slonik.compression.static.run import StaticCompression, compress_static
from slonik.core.config import configure
from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from tests.compression import toy_corpus as corpus

TEXTS = ["слон видит дом утром", "The cat loves the river", "учитель помнит город"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("static")
    corpus.write(folder)
    return folder


def _make(place: Path, name: str, **options: Any) -> StaticCompression:
    settings = {
        "corpus.held_out_texts": 40, "corpus.held_out_share": 0.2, "corpus.near_pairs": 0, "vocabulary.tokens": 120,
        "dimensions": 32, "evaluate": False, "speed_texts": 4,
    }  # fmt: skip
    fields = {"corpus": place / "ru.txt", "pairs": place / "pairs.tsv", "out": place / name, **options}
    fields["set"] = settings | dict(options.get("set", {}))
    return compress_static(fields.pop("model", "hashing_300"), **fields)


@pytest.fixture(scope="module")
def made(place: Path) -> StaticCompression:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLONIK_CACHE", str(place / "cache"))
        return _make(place, "table", teachers="hashing_1000", set={"blend.weights": [1, 0.5], "blend.scale": 3.0})


def test_the_table_agrees_with_its_teachers(made: StaticCompression) -> None:
    assert made.agreement[0] < made.agreement[1] <= max(made.agreement)
    assert max(made.agreement) > made.agreement[0] + 0.4
    assert {record.suite for record in made.records} == {"resources", "agreement"}
    assert next(table.title for table in made.tables()) == "Speed and memory"


def test_everybody_reads_the_same_vectors(made: StaticCompression) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    assert made.checkpoint is not None
    own = slonik.load(made.checkpoint)
    vectors = own.encode(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 3.0, atol=1e-5)
    theirs = sentence_transformers.SentenceTransformer(str(made.checkpoint), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(vectors, theirs, atol=1e-5)
    # What Model2Vec reads: rows times weights, their mean, of length one where config.json says so.
    table = own.table.rows.astype(np.float32) * own.table.weights[:, None]
    ids = [encoding.ids for encoding in own.tokenizer.encode_batch(TEXTS, add_special_tokens=False)]
    mean = np.stack([table[row].mean(0) for row in ids])
    assert json.loads((made.checkpoint / "config.json").read_text())["normalize"] is True
    unit = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors / 3.0, unit, atol=1e-5)


def test_each_precision_has_a_folder_and_the_run_its_proof(made: StaticCompression) -> None:
    folder = made.checkpoint
    assert folder is not None and made.report is not None
    whole = slonik.load(folder / "fp16").encode(TEXTS)
    for name, precision, least in ((".", "int8", 0.999), ("bit", "bit", 0.5)):
        one = slonik.load(folder / name)
        assert one.table.precision == precision
        assert ((one.encode(TEXTS) * whole).sum(1) / 9).min() > least
    passport = Passport.read(folder)
    assert passport.lineage[-1].command == "compress --static"
    assert passport.lineage[-1].config["teachers"] == ["hashing_1000"]
    card = (folder / "README.md").read_text()
    assert "mean of the tokens' vectors, normalised" in card and "order of words is lost" in card
    assert "--static" in made.report.read_text()
    assert not folder.with_name("table.steps").exists()


def test_further_texts_are_read_by_further_teachers_alone(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLONIK_CACHE", str(place / "cache"))
    more = {"near_pairs": 0, "held_out_share": 0.2, "held_out_texts": 40}  # of the same files
    settings = {"corpus.train_texts": 100, "corpus.train_pairs": 0, "further": more}
    made = _make(place, "further", teachers="hashing_1000", set=settings)
    assert max(made.agreement) > made.agreement[0]
    assert made.checkpoint is not None
    inputs = Passport.read(made.checkpoint).lineage[-1].inputs
    assert {"corpus", "pairs", "teacher hashing_300", "teacher hashing_1000"} <= set(inputs)
    with pytest.raises(SlonikError, match="there are none: give --teacher"):
        _make(place, "alone", set=settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"dimensions": 304}, "300 dimensions together, and the table cannot have 304"),
        ({"blend.weights": [1, 2]}, "2 weights for 1 teachers"),
        ({"vocabulary.kind": "teacher"}, "hashing_300 has no vocabulary to trim"),
    ],
)
def test_what_cannot_be_made_is_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], words: str
) -> None:
    monkeypatch.setenv("SLONIK_CACHE", str(place / "cache"))
    with pytest.raises(SlonikError, match=words):
        _make(place, "refused", set=settings)
    assert not (place / "refused").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--static", "--layers", "3"], "--layers is for networks"),
        (["--static", "--epochs", "2"], "--epochs is for networks"),
        (["--teacher", "hashing_300"], "--teacher is for a table of token vectors"),
        (["--dimensions", "64"], "--dimensions is for a table of token vectors"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    place: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    line = ["compress", "hashing_300", "--corpus", str(place / "ru.txt"), "--out", str(place / "no"), *options]
    with pytest.raises(SystemExit, match="2"):
        main(line)
    assert words in capsys.readouterr().err


def test_the_recipe_for_a_russian_table_is_valid() -> None:
    path = Path(__file__).resolve().parents[3] / "recipes" / "static_ru.yaml"
    config = configure(StaticRecipe, path, {"out": "table"})
    assert config.further is not None and config.vocabulary.tokens * config.dimensions < 8e6
