"""Metrics against hand-made counts and a brute-force matcher; intervals, folds, differences, notes, error rows."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.metrics import f1_score

from slonik.core.errors import SlonikError
from slonik.data.annotations.document import Document, Span
from slonik.tagging.breakdowns import names_in
from slonik.tagging.matching import compare_spans, error_rows
from slonik.tagging.metrics import TaggerScores, compare, score

LABELS = ("LOC", "ORG", "PER")


def spans(*places: tuple[int, int, str]) -> tuple[Span, ...]:
    return tuple(Span(*place) for place in places)


def random_spans(rng: random.Random) -> list[Span]:
    borders = sorted(rng.sample(range(60), 2 * rng.randint(0, 6)))
    return [Span(a, b, rng.choice(LABELS)) for a, b in zip(borders[::2], borders[1::2], strict=True)]


def collection(size: int = 40, seed: int = 0) -> tuple[list[Document], list[list[Span]], list[list[Span]]]:
    """Documents, and predictions of a good and of a bad system."""
    rng = random.Random(seed)
    documents, good, bad = [], [], []
    for number in range(size):
        gold = random_spans(rng)
        documents.append(Document(f"d{number}", "ж" * 60, tuple(gold)))
        good.append([span for span in gold if rng.random() < 0.8])
        bad.append(random_spans(rng))
    documents[0] = Document("d0", "ж" * 60, spans((0, 3, "LOC"), (5, 9, "ORG"), (10, 12, "PER")))
    return documents, good, bad


def scored(
    documents: Sequence[Document], predicted: Sequence[Sequence[Span]], name: str = "m", **more: object
) -> TaggerScores:
    return score(name, documents, predicted, task="toy", **more)  # type: ignore[arg-type]


def test_exact_f1_equals_a_count_by_hand() -> None:
    documents = [Document("a", "ж" * 30, spans((0, 5, "ORG"), (6, 9, "PER"), (12, 20, "LOC"), (21, 25, "LOC")))]
    predicted = [spans((0, 5, "ORG"), (6, 9, "LOC"), (12, 19, "LOC"), (26, 28, "PER"))]
    found = scored(documents, predicted)
    values = {record.metric: record.value for record in found.records}
    assert values["f1_micro"] == pytest.approx(2 * 1 / 8)
    assert values["precision_micro"] == values["recall_micro"] == pytest.approx(1 / 4)
    assert values["f1_macro"] == pytest.approx((1 + 0 + 0) / 3)
    assert values["f1_overlap"] == pytest.approx(2 * 2 / 8)
    detail = found.record("f1_micro").detail
    assert detail["errors"] == {"missed": 1, "invented": 1, "border": 1, "type": 1, "border and type": 0}
    assert detail["confusion"]["PER"] == {"LOC": 1}
    assert detail["confusion"]["LOC"] == {"LOC": 1, "nothing": 1}
    assert detail["confusion"]["nothing"] == {"PER": 1}
    assert detail["per_label"]["LOC"]["gold"] == 2 and detail["per_label"]["LOC"]["predicted"] == 2


def test_metrics_agree_with_scikit_learn_over_all_possible_spans() -> None:
    documents, _, predicted = collection()
    truth, answer = [], []
    for document, found in zip(documents, predicted, strict=True):
        for place in {*document.spans, *found}:
            truth.append(place.label if place in set(document.spans) else "none")
            answer.append(place.label if place in set(found) else "none")
    result = scored(documents, predicted)
    for average, metric in (("micro", "f1_micro"), ("macro", "f1_macro")):
        expected = f1_score(truth, answer, labels=LABELS, average=average)
        assert result.record(metric).value == pytest.approx(expected)


def best_overlap(gold: Sequence[Span], predicted: Sequence[Span]) -> int:
    """The most pairs with a common character, each span once, by trying all."""
    few, many = sorted((list(gold), list(predicted)), key=len)
    return max(
        sum(one.overlaps(other) for one, other in zip(few, chosen, strict=True))
        for chosen in itertools.permutations(many, len(few))
    )


def test_every_span_is_right_or_in_one_mistake_and_pairs_are_nearly_the_most_there_can_be() -> None:
    rng = random.Random(3)
    lost = 0
    for _ in range(200):
        gold, predicted = random_spans(rng)[:4], random_spans(rng)[:4]
        found = compare_spans(gold, predicted)
        assert sorted([*found.right, *(m.gold for m in found.mistakes if m.gold)]) == sorted(gold)
        assert sorted([*found.right, *(m.predicted for m in found.mistakes if m.predicted)]) == sorted(predicted)
        assert all(m.gold.overlaps(m.predicted) for m in found.mistakes if m.gold and m.predicted)
        pairs = len(found.right) + sum(1 for m in found.mistakes if m.gold and m.predicted)
        lost += best_overlap(gold, predicted) - pairs
    assert 0 <= lost <= 20  # greedy, longest stretch first, is not always the largest matching


def test_interval_holds_the_value_and_narrows_with_more_documents() -> None:
    few, many = collection(20), collection(320)
    widths = []
    for documents, good, _ in (few, many):
        record = scored(documents, good).record("f1_micro")
        assert record.low is not None and record.high is not None and record.value is not None
        assert record.low <= record.value <= record.high
        widths.append(record.high - record.low)
    assert widths[1] < 0.5 * widths[0]


def test_difference_is_paired_and_on_shared_documents_only() -> None:
    documents, good, bad = collection(60)
    first, second = scored(documents, bad, "bad"), scored(documents[:40], good[:40], "good")
    micro, macro = compare([first, second])
    assert micro.model == "good - bad" and micro.n == 40 and micro.metric == "difference"
    alone = scored(documents[:40], bad[:40], "bad"), scored(documents[:40], good[:40], "good")
    for record, metric in ((micro, "f1_micro"), (macro, "f1_macro")):
        values = [one.record(metric).value for one in alone]
        assert record.value == pytest.approx(values[1] - values[0])  # type: ignore[operator]
    assert micro.low is not None and micro.low > 0 and micro.detail["p_value"] < 0.05
    same = compare([first, scored(documents, bad, "twin")])[0]
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_folds_are_told_with_their_t_interval() -> None:
    documents, good, _ = collection(50)
    folds = [number % 5 for number in range(50)]
    found = scored(documents, good, folds=folds).record("f1_micro").detail["folds"]
    by_hand = [
        scored([d for d, f in zip(documents, folds, strict=True) if f == fold],
               [p for p, f in zip(good, folds, strict=True) if f == fold]).record("f1_micro").value
        for fold in range(5)
    ]  # fmt: skip
    assert list(found["values"].values()) == pytest.approx(by_hand, abs=1e-4)
    half = 2.776445 * np.std(by_hand, ddof=1) / 5**0.5
    assert found["mean"] - found["low"] == pytest.approx(half, abs=2e-4)


def test_labels_that_one_side_lacks_are_counted_and_said() -> None:
    documents = [Document("a", "ж" * 30, spans((0, 5, "ORG"), (6, 9, "PER")))]
    found = scored(documents, [spans((0, 5, "ORG"), (12, 14, "VIRUS"))], known_labels=("ORG", "VIRUS"))
    assert found.record("f1_micro").value == pytest.approx(0.5)
    assert found.record("f1_macro").value == pytest.approx(0.5)
    assert any("knows no PER" in note for note in found.notes)
    assert any("VIRUS" in note and "counted as wrong" in note for note in found.notes)


def test_error_rows_point_at_the_spans_in_their_context() -> None:
    text = "Вчера " * 30 + "«Лаборатория Касперского» нашла троян." + " Сегодня" * 30
    start = text.index("Лаборатория")
    gold = spans((start, start + 23, "ORG"))
    predicted = [Span(start, start + 11, "ORG", 0.61)]
    documents = [Document("a", text, gold)]
    [row] = error_rows(documents, [compare_spans(gold, predicted)])
    assert row["kind"] == "border" and row["cut"] == [True, True]
    for side, words in (("gold", "Лаборатория Касперского"), ("predicted", "Лаборатория")):
        assert row["context"][row[side]["start"] : row[side]["end"]] == words
    assert row["predicted"]["confidence"] == 0.61


def test_nothing_to_score_is_refused() -> None:
    with pytest.raises(SlonikError, match="no document"):
        scored([], [])
    with pytest.raises(SlonikError, match="none of the 1 documents has an annotation"):
        scored([Document("a", "текст")], [[]])


def test_no_prediction_at_all_is_zero_not_an_error() -> None:
    documents, _, _ = collection(5)
    found = scored(documents, [[] for _ in documents])
    assert found.record("f1_micro").value == 0 and found.record("precision_micro").value == 0


def test_mean_over_documents_and_intervals_of_it() -> None:
    documents, good, _ = collection(40)
    record = scored(documents, good).record("f1_documents")
    values = []
    for document, found in zip(documents, good, strict=True):
        gold = set(document.spans)
        if gold or found:
            values.append(2 * len(gold & set(found)) / (len(gold) + len(set(found))))
    assert record.value == pytest.approx(np.mean(values)) and record.low is not None
    assert record.low < record.value < (record.high or 0)


def test_seeds_are_averaged_and_their_spread_widens_the_interval() -> None:
    documents, good, bad = collection(60)
    rng = random.Random(5)
    runs = [[[span for span in one if rng.random() < share] for one in good] for share in (1.0, 0.5, 0.1)]
    alone = [scored(documents, run).record("f1_micro") for run in runs]
    together = scored(documents, runs[0], further=runs[1:])
    record = together.record("f1_micro")
    assert record.value == pytest.approx(np.mean([one.value for one in alone]))
    assert record.detail["seeds"] == 3 and record.detail["f1_of_seeds"][0] == pytest.approx(alone[0].value, abs=1e-4)
    assert record.high - record.low > 2 * (alone[0].high - alone[0].low)  # type: ignore[operator]
    [micro, _] = compare([scored(documents, bad, "bad"), together])
    assert micro.value == pytest.approx(record.value - scored(documents, bad).record("f1_micro").value)  # type: ignore[operator]
    assert micro.detail["seeds"] == [1, 3]
    assert scored(documents, runs[0], further=runs[1:]).records == together.records  # drawn alike again


def test_differences_by_fold_are_those_of_each_fold() -> None:
    documents, good, bad = collection(60)
    folds = [number % 3 for number in range(60)]
    first, second = scored(documents, bad, "bad", folds=folds), scored(documents, good, "good", folds=folds)
    found = compare([first, second])[0].detail["folds"]
    for fold in range(3):
        part = [index for index in range(60) if folds[index] == fold]
        values = [
            scored([documents[i] for i in part], [said[i] for i in part]).record("f1_micro").value
            for said in (good, bad)
        ]
        assert found["values"][str(fold)] == pytest.approx(values[0] - values[1], abs=1e-4)  # type: ignore[operator]
    assert found["low"] < found["mean"] < found["high"]


def test_a_document_that_holds_much_of_a_label_is_named_and_left_out_beside() -> None:
    names = [Document(f"d{n}", "ж" * 60, spans((0, 3, "ORG"), (5, 9, "PER"))) for n in range(8)]
    names.append(Document("list", "ж" * 60, spans(*((place, place + 1, "ORG") for place in range(0, 40, 2)))))
    predicted = [list(document.spans) for document in names]
    predicted[-1] = []
    heavy = scored(names, predicted).record("f1_micro").detail["heavy"]
    assert heavy["documents"] == [{"label": "ORG", "document": "list", "spans": 20, "of": 28}]
    assert heavy["f1_micro"]["value"] == 1 and heavy["per_label"] == {"ORG": 1}
    assert "heavy" not in scored(names[:8], predicted[:8]).record("f1_micro").detail


def test_names_seen_in_training_and_not() -> None:
    text = "Банк Заря и банк Луна ждут"
    gold = spans((0, 9, "ORG"), (12, 21, "ORG"))
    document = Document("a", text, gold)
    assert names_in([Document("b", "банк  заря", spans((0, 10, "ORG")))]) == {"банк заря"}
    found = scored([document], [[gold[0], Span(22, 26, "PER")]], seen_names=[{"банк заря"}])
    names = found.record("f1_micro").detail["names"]
    assert (names["seen"]["gold"], names["seen"]["right"], names["seen"]["recall"]["value"]) == (1, 1, 1)
    assert (names["unseen"]["gold"], names["unseen"]["predicted"], names["unseen"]["recall"]["value"]) == (1, 1, 0)
    assert found.by_document() == [{"document": "a", "gold": 2, "predicted": 2, "right": 1, "f1": 0.5}]


def test_confidence_is_held_against_what_is_right() -> None:
    documents, good, _ = collection(40)
    sure = [[Span(s.start, s.end, s.label, 0.95) for s in one] for one in good]
    record = scored(documents, sure).record("calibration_error")
    right = sum(span in set(gold.spans) for gold, one in zip(documents, sure, strict=True) for span in one)
    share = right / sum(map(len, sure))
    assert record.value == pytest.approx(abs(0.95 - share)) and share < 1
    assert record.detail["bins"][0]["right"] == pytest.approx(share, abs=1e-4)
    assert record.detail["bins"][0]["spans"] == sum(map(len, good))
    assert all(one.metric != "calibration_error" for one in scored(documents, good).records)


def test_what_nobody_annotated_is_not_judged() -> None:
    gold = spans((0, 4, "ORG"))
    document = Document("a", "ж" * 40, gold, unknown=((10, 40),))
    predicted = [[gold[0], Span(20, 25, "PER"), Span(5, 8, "PER")]]
    found = scored([document], predicted)
    assert found.record("precision_micro").value == pytest.approx(1 / 2)
