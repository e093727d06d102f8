"""What a model reads in part is counted from the texts, on torch and on onnxruntime, whatever tokens are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import slonik
from slonik import models
from slonik.evaluation.long_texts import told_cut, too_long
from slonik.models.baselines import HashingEncoder
from slonik.words.map import draw_map
from tests import tiny
from tests.exporting.exported import checkpoint, exported

LONG = "слон идёт домой " * 700


@pytest.fixture(scope="module")
def encoders() -> list[Any]:
    """The same model of 64 tokens on torch and on onnxruntime."""
    return [models.load(checkpoint("bert"), device="cpu"), slonik.load(exported("bert")[0], file="model.onnx")]


def test_counted_is_what_the_model_counts(encoders: list[Any]) -> None:
    texts = [LONG, "слон", "слон " * 61, "слон " * 63, LONG, "🐘" * 70, ""]
    for encoder in encoders:
        before = encoder.cut_texts
        encoder.encode(texts)
        count = encoder.cut_texts - before
        assert count >= 3 and too_long(encoder, texts) == count
        (told,) = told_cut(encoder, texts, what="texts of a task")
        assert told.endswith(
            f": {count} of 7 texts of a task are longer than the 64 tokens that it reads, and were cut"
        )
        assert told_cut(encoder, ["слон"]) == []
        assert too_long(encoder, ["слон " * 8], "слон " * 60) == 1 and too_long(encoder, ["слон " * 8], "") == 0


def test_what_reads_in_windows_cuts_nothing_but_its_layers(encoders: list[Any]) -> None:
    encoder = models.load(checkpoint("bert"), device="cpu", long_texts="average")
    assert told_cut(encoder, [LONG]) == [] and told_cut(encoder, [LONG], whole=True)
    assert told_cut(HashingEncoder("hashing", 300), [LONG]) == []


def test_a_map_notes_it(encoders: list[Any], tmp_path: Path) -> None:
    found = draw_map(encoders[0], [LONG, *tiny.TEXTS[:5]], html=tmp_path / "map.html")
    assert any("1 of 6 texts are longer than the 64 tokens" in note for note in found.notes)
