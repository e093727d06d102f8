"""The card of a distribution: what is missing is said with its command, what was measured stays, another package is not
taken for this one."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from typer.testing import CliRunner

import slonik
from slonik.cli.main import build_app
from slonik.core.errors import SlonikError
from slonik.core.records import Record, write_records
from slonik.evaluation import card as cards
from slonik.evaluation.suite import Evaluation
from slonik.exporting.package.run import package
from slonik.runtime.static import StaticEncoder, quantised
from tests.installed import install

NAME = "tiny-card"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A distribution of a static model."""
    words = ["[UNK]", "слон", "идёт", "домой"]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    vectors = np.random.default_rng(0).normal(size=(len(words), 16)).astype(np.float32)
    (tmp_path / "table").mkdir()
    StaticEncoder(quantised(vectors, "int8"), tokenizer).write(tmp_path / "table")
    made = package(tmp_path / "table", tmp_path / NAME, licences={"teacher": "Apache-2.0"}, about="Made by hand.")
    assert made.checkpoint is not None
    return made.checkpoint


def _record(suite: str, task: str, metric: str, value: float, **more: Any) -> Record:
    return Record(suite=suite, task=task, model=f"embedded:{NAME}", metric=metric, value=value, **more)


def test_a_new_card_says_what_nobody_has_measured_and_how_to(root: Path) -> None:
    text = (root / "README.md").read_text(encoding="utf-8")
    assert text.startswith("---\n") and f"# {NAME} 0.1.0" in text and "static sentence encoder" in text
    assert "Made by hand." in text and "Apache-2.0" in text and f'slonik.load("embedded:{NAME}")' in text
    for part in ("character", "encodechka,speed"):
        assert f"Not measured yet: `slonik card models/{NAME} --measure {part}" in text


def test_records_and_words_go_into_the_card_and_stay(root: Path, tmp_path: Path) -> None:
    scores = [_record("encodechka", "sts", "spearman", 0.71, variant="fixed", low=0.70, high=0.72, n=100)]
    write_records(tmp_path / "scores.json", scores)
    words = _record("character", "words", "accuracy", 0.2, low=0.1, high=0.3, n=40, detail={"about": "single words"})
    good = _record("character", "sentences", "accuracy", 0.9, low=0.8, high=1.0, n=40, detail={"about": "sentences"})
    found = slonik.card(root, records=[tmp_path / "scores.json", words, good])
    slonik.card(root, about="From newspapers (CC0).")
    assert found.report == root / "README.md" and len(found.records) == 3
    text = (root / "README.md").read_text(encoding="utf-8")
    assert "From newspapers (CC0)." in text and "Made by hand." not in text and "71" in text
    assert r"single words: the right translation is found for 20% \[10%, 30%\], of sentences for 90%" in text
    assert "--measure character" in text  # its cosines are not there
    installed_files = slonik.show(root / "src" / "tiny_card" / "model").passport.records
    assert len(installed_files) == 3


def test_parts_are_measured_on_the_installed_package(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def part(models: list[str], *rest: object) -> Evaluation:
        asked.append(models)
        return Evaluation(records=(_record("character", "random", "cosine", 0.1, n=5, detail={"quantiles": {}}),))

    def fails(models: list[str], *rest: object) -> Evaluation:
        raise SlonikError("no data")

    monkeypatch.setattr(cards, "_PARTS", {"character": part, "encodechka": fails})
    with pytest.raises(SlonikError, match=f"{NAME} is not: pip install"):
        slonik.card(root, measure="character")
    install(monkeypatch, root, NAME)
    with pytest.raises(SlonikError, match="unknown part of a card 'colour'"):
        slonik.card(root, measure=["character", "colour"])
    assert not asked  # nothing is measured before everything that was asked for is known
    with pytest.raises(SlonikError, match="no data"):
        slonik.card(root, measure=["character", "encodechka"], against="hashing_300")
    assert asked == [[f"embedded:{NAME}", "hashing_300"]]
    assert "two texts at random" in (root / "README.md").read_text(encoding="utf-8")  # what was measured is kept
    other = tmp_path / "other" / NAME
    package(tmp_path / "table", other, version="0.2.0", licences={"teacher": "MIT"})
    with pytest.raises(SlonikError, match="is not the one in"):
        slonik.card(other, measure="character")
    with pytest.raises(SlonikError, match="holds no distribution"):
        slonik.card(tmp_path)


def test_the_demo_begins_with_what_ships_and_says_what_the_rest_needs(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, root, NAME)
    monkeypatch.setattr("slonik.models.distributions.DEFAULTS", (NAME,))
    monkeypatch.setattr("slonik.models.names.DEFAULTS", (NAME,))
    known = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else known(name, *rest)
    )
    done = CliRunner().invoke(build_app(), ["demo"])
    assert done.exit_code == 0, done.output
    assert "of 8 translations found" in done.output and "pip install 'slonik[demo]'" in done.output
