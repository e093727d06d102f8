"""Scores of entities within entities: inner and outer apart, flat taggers beside nested ones, parts of a split."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from slonik.core.errors import SlonikError
from slonik.data.annotations.brat import write_brat
from slonik.data.annotations.document import Counts, Document, Span, flatten, lying_within
from slonik.tagging.evaluate import ner
from slonik.tagging.metrics import score
from slonik.tagging.tasks import NEREL, SECCOLL, task_folder

TEXT = "Банк Москвы и мэр Москвы Иван Белов"
DOCUMENTS = [
    Document("a", TEXT, (Span(0, 11, "ORG"), Span(5, 11, "LOC"), Span(14, 24, "PER"), Span(18, 24, "LOC"))),
    Document("b", TEXT[:11], (Span(0, 11, "ORG"), Span(5, 11, "LOC"))),
]


class Known:
    """Gives the spans that it was told, nested or flat."""

    labels = ("LOC", "ORG", "PER")

    def __init__(self, name: str, spans: Sequence[Sequence[Span]], nested: bool) -> None:
        self.name, self.nested = name, nested
        self._spans = dict(zip([one.text for one in DOCUMENTS], spans, strict=True))

    def tag(self, texts: Sequence[str]) -> list[list[Span]]:
        return [list(self._spans[text]) for text in texts]

    def describe(self) -> dict[str, Any]:
        return {"kind": "known"}


def test_what_lies_within_is_what_another_covers_and_more() -> None:
    rng = random.Random(0)
    for _ in range(200):
        spans = []
        for _ in range(rng.randint(0, 6)):
            start = rng.randint(0, 5)
            spans.append(Span(start, start + rng.randint(1, 5), rng.choice("AB")))
        wanted = [
            any(o.start <= s.start and s.end <= o.end and o.end - o.start > s.end - s.start for o in spans)
            for s in spans
        ]
        assert lying_within(spans) == wanted


def test_inner_and_outer_spans_are_scored_apart() -> None:
    predicted = [[Span(0, 11, "ORG"), Span(5, 11, "LOC"), Span(14, 24, "PER")], [Span(5, 11, "LOC")]]
    found = score("m", DOCUMENTS, predicted, task="toy", nested=True)
    values = {record.metric: record.value for record in found.records}
    assert values["f1_micro"] == pytest.approx(2 * 4 / (6 + 4))
    # On its own side the last span lies in nothing: it is an outer one, and no gold outer one equals it.
    assert values["f1_outer"] == pytest.approx(2 * 2 / (3 + 3))
    assert values["f1_inner"] == pytest.approx(2 * 1 / (3 + 1))
    assert "f1_inner" not in {record.metric for record in score("m", DOCUMENTS, predicted, task="toy").records}


def test_a_nested_tagger_is_scored_on_all_spans_and_a_flat_one_beside_it_too() -> None:
    whole = Known("nested", [one.spans for one in DOCUMENTS], True)
    flat = Known("flat", [flatten(one.spans) for one in DOCUMENTS], False)
    found = ner([whole, flat], DOCUMENTS, task="toy")
    values = {(record.model, record.metric): record.value for record in found.records}
    assert values["nested", "f1_micro"] == values["nested", "f1_inner"] == 1.0
    assert values["flat", "f1_outer"] == 1.0 and (values["flat", "f1_micro"] or 0) < 1.0
    assert any(note.startswith("flat: it gives no entities within others: the 3 gold") for note in found.notes)
    outermost = ner([whole, flat], DOCUMENTS, task="toy", nested=False)
    again = {(record.model, record.metric): record.value for record in outermost.records}
    assert again["flat", "f1_micro"] == 1.0 and ("flat", "f1_inner") not in again


def test_parts_of_an_official_split_are_named(tmp_path: Path) -> None:
    write_brat(DOCUMENTS, tmp_path / "nerel" / "dev", Counts())
    assert task_folder(NEREL, tmp_path, "dev") == tmp_path / "nerel" / "dev"
    found = ner(Known("n", [one.spans for one in DOCUMENTS], True), tasks="nerel", split="dev", data_dir=tmp_path)
    record = next(record for record in found.records if record.metric == "f1_micro")
    assert (record.task, record.variant, record.value) == ("nerel", "dev", 1.0)
    with pytest.raises(SlonikError, match="holds dev; name one with --split dev"):
        task_folder(NEREL, tmp_path)
    with pytest.raises(SlonikError, match="no part 'valid': it has test, dev, train"):
        task_folder(NEREL, tmp_path, "valid")
    with pytest.raises(SlonikError, match="is one folder"):
        task_folder(SECCOLL, tmp_path, "test")
    with pytest.raises(SlonikError, match="--data names the texts themselves"):
        ner(Known("n", [(), ()], True), DOCUMENTS, split="dev")
    assert list(itertools.islice(NEREL.published, 1))
