"""Agreement of two annotations: against hand counts and scikit-learn; what is not compared is said."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from sklearn.metrics import cohen_kappa_score

from slonik.core.errors import SlonikError
from slonik.data.annotations.document import Counts, Document, Span
from slonik.data.annotations.formats import write_documents
from slonik.data.annotations.tags import tokenize
from slonik.tagging.agreement import SUITE, agreement

TEXT = "Иван Петров живёт в Туле и любит Банк России"


def _random(seed: int) -> tuple[list[Document], list[Document]]:
    draw = random.Random(seed)
    words = tokenize(TEXT)
    sides: tuple[list[Document], list[Document]] = ([], [])
    for number in range(30):
        for side in sides:
            chosen = [word for word in words if draw.random() < 0.5]
            spans = tuple(Span(start, end, draw.choice("AB")) for start, end in chosen)
            side.append(Document(f"d{number}", f"{TEXT} {number}", spans))
    return sides


def test_f1_and_kappa_are_those_of_hand_and_of_scikit_learn() -> None:
    first, second = _random(0)
    found = agreement(first, second)
    values = {record.metric: record for record in found.records}
    right = sum(len(set(one.spans) & set(other.spans)) for one, other in zip(first, second, strict=True))
    total = sum(len(one.spans) + len(other.spans) for one, other in zip(first, second, strict=True))
    assert values["f1"].value == pytest.approx(2 * right / total) and values["f1"].suite == SUITE

    def tags(documents: list[Document]) -> list[str]:
        spans = [{(span.start, span.end): span.label for span in one.spans} for one in documents]
        return [own.get(word, "O") for own, one in zip(spans, documents, strict=True) for word in tokenize(one.text)]

    one, other = tags(first), tags(second)
    assert values["kappa"].value == pytest.approx(cohen_kappa_score(one, other))
    marked = [pair for pair in zip(one, other, strict=True) if pair != ("O", "O")]
    assert values["kappa_marked"].value == pytest.approx(cohen_kappa_score(*zip(*marked, strict=True)))
    for record in found.records:
        assert record.low is not None and record.low < (record.value or 0) < (record.high or 0)
    label = values["f1"].detail["per_label"]["A"]
    is_a = ([tag == "A" for tag in side] for side in (one, other))
    assert label["kappa"]["value"] == pytest.approx(cohen_kappa_score(*is_a))
    swapped = {record.metric: record.value for record in agreement(second, first).records}
    assert swapped["f1"] == values["f1"].value and swapped["kappa"] == pytest.approx(values["kappa"].value)


def test_what_is_not_compared_is_said(tmp_path: Path) -> None:
    here = (Span(0, 11, "PER"), Span(20, 24, "LOC"))
    first = [Document("a", TEXT, here), Document("b", "только здесь", (Span(0, 6, "X"),)), Document("c", "один")]
    second = [
        Document("a2", TEXT, (Span(0, 11, "PER"), Span(20, 24, "ORG"), Span(33, 44, "ORG")), unknown=((30, 44),)),
        Document("c", "два", (Span(0, 3, "X"),)),
    ]
    write_documents(first, tmp_path / "one", "brat", Counts())
    found = agreement(tmp_path / "one", second)
    assert found.documents == 1 and found.records[0].value == pytest.approx(1 / 2)
    assert (
        found.left_out["texts that only the first has"] == 2 and found.left_out["texts that only the second has"] == 1
    )
    assert any("have one id and other words (for example c)" in words for words in found.left_out)
    assert found.tables[1].rows[0].cells[0].text == "LOC" and found.tables[1].rows[0].cells[1].text == "ORG"
    with pytest.raises(SlonikError, match="no text in common"):
        agreement(first[1:2], second)
    same = agreement(first[:1], first[:1])
    assert {record.value for record in same.records} == {1.0}


def test_who_marked_nothing_agrees_in_nothing_and_is_named(tmp_path: Path) -> None:
    marked = [Document("a", TEXT, (Span(0, 11, "PER"),)), Document("b", "никто")]
    bare = [Document("a", TEXT), Document("b", "никто")]
    write_documents(bare, tmp_path / "lazy", "brat", Counts())
    for sides in ((marked, tmp_path / "lazy"), (tmp_path / "lazy", marked)):
        found = agreement(*sides)
        assert {record.value for record in found.records} == {0.0} and found.documents == 2
        assert found.left_out == {
            f"texts, all that both have, in which {tmp_path / 'lazy'} marks nothing: F1 and kappa are 0": 2
        }
    with pytest.raises(SlonikError, match=r"neither 2 documents given in Python nor .*lazy marks anything"):
        agreement(bare, tmp_path / "lazy")
    mapped = agreement(marked, marked, mapping={"merge": {"PER": "MAN"}, "drop": ["SHIP"]}).left_out
    assert mapped["spans of PER counted as MAN (2 documents given in Python)"] == 2  # one on either side
    assert mapped["labels that the mapping names and no text has: SHIP"] == 1
    with pytest.raises(SlonikError, match="the seed is -4: give 0 or more"):
        agreement(marked, marked, seed=-4)


def test_nothing_to_compare_says_why() -> None:
    span = (Span(0, 4, "A"),)
    with pytest.raises(
        SlonikError, match=r"no text in common.*; 1 of these have one id and other words .for example d"
    ):
        agreement([Document("d", "Иван\r\nПётр", span)], [Document("d", "Иван\nПётр", span)])
    whole, part = Document("d", "Иван", span), Document("d", "Иван", span, unknown=((0, 4),))
    with pytest.raises(SlonikError, match=r"\(2 spans where one of the two has not annotated are left out\)"):
        agreement([whole], [part])
