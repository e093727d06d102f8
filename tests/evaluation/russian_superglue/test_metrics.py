"""Metrics against hand-computed cases, scikit-learn, and values that are known from the published baselines."""

from __future__ import annotations

import random

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from slonik.core.errors import SlonikError
from slonik.evaluation.russian_superglue.metrics import (
    TaskMean,
    hits_of,
    normalise_answer,
    score,
    statistics_of,
    token_f1,
)
from slonik.evaluation.russian_superglue.parts import Part
from slonik.evaluation.russian_superglue.predictions import Prediction
from slonik.evaluation.russian_superglue.records import scored
from slonik.evaluation.russian_superglue.tasks import TASKS, Example
from slonik.evaluation.statistics import replicates


def _plain(labels: list, groups: list[str] | None = None) -> list[Example]:  # type: ignore[type-arg]
    names = groups or [str(number) for number in range(len(labels))]
    return [Example(n, {}, label, (), group, group) for n, (label, group) in enumerate(zip(labels, names, strict=True))]


def _given(labels: list) -> list[Prediction]:  # type: ignore[type-arg]
    return [Prediction(number, label) for number, label in enumerate(labels)]


def _answers(questions: list[list[int]]) -> list[Example]:
    return [
        Example(f"0/{q}/{a}", {}, label, (), f"{q % 2}", f"0/{q}")
        for q, labels in enumerate(questions)
        for a, label in enumerate(labels)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_rcb_and_lidirus_agree_with_scikit_learn(seed: int) -> None:
    rng = random.Random(seed)
    for task, metric in (("rcb", "macro_f1"), ("lidirus", "matthews")):
        labels = list(TASKS[task].labels)
        true, given = ([rng.choice(labels) for _ in range(30)] for _ in range(2))
        found = score(task, _plain(true), _given(given))
        if metric == "macro_f1":
            assert found[metric] == pytest.approx(f1_score(true, given, average="macro"))
            assert found["accuracy"] == pytest.approx(accuracy_score(true, given))
        else:
            assert found[metric] == pytest.approx(matthews_corrcoef(true, given))


def test_macro_f1_counts_labels_that_occur_on_either_side_only() -> None:
    true, given = ["entailment"] * 3 + ["neutral"], ["entailment"] * 4
    assert score("rcb", _plain(true), _given(given))["macro_f1"] == pytest.approx(
        f1_score(true, given, average="macro")
    )
    assert score("rcb", _plain(["neutral"] * 3), _given(["neutral"] * 3))["macro_f1"] == 1


def test_the_published_majority_row_of_rcb_follows_from_its_share() -> None:
    # 48.4 % of the test items belong to the majority class: macro F1 .217, as published
    true = ["entailment"] * 484 + ["contradiction"] * 200 + ["neutral"] * 316
    found = score("rcb", _plain(true), _given(["entailment"] * 1000))
    assert found["macro_f1"] == pytest.approx(0.217, abs=5e-4) and found["accuracy"] == pytest.approx(0.484)


def test_matthews_is_zero_for_a_constant_answer_and_one_for_the_truth() -> None:
    true = ["entailment", "not_entailment", "entailment"]
    assert score("lidirus", _plain(true), _given(["entailment"] * 3)) == {"matthews": 0.0}
    assert score("lidirus", _plain(true), _given(true)) == {"matthews": 1.0}


def test_muserc_by_hand() -> None:
    examples = _answers([[1, 0, 1], [0, 1]])
    rows = [Prediction(e.idx, label) for e, label in zip(examples, [1, 0, 0, 0, 1], strict=True)]
    found = score("muserc", examples, rows)
    # 2 agreed of 2 predicted and 3 right: P = 1, R = 2/3, F1 = 0.8; the second question alone is whole
    assert found == {"f1a": pytest.approx(0.8), "em": 0.5}
    nothing = [Prediction(e.idx, 0) for e in examples]
    assert score("muserc", examples, nothing) == {"f1a": 0.0, "em": 0.0}  # the published majority row
    wrong = [Prediction(e.idx, label) for e, label in zip(examples, [0, 1, 0, 1, 0], strict=True)]
    assert score("muserc", examples, wrong) == {"f1a": 0.0, "em": 0.0}  # the official code divides by zero here
    none_right = _answers([[0, 0]])
    assert score("muserc", none_right, [Prediction(e.idx, 0) for e in none_right]) == {"f1a": 1.0, "em": 1.0}


def test_rucos_compares_normalised_texts_and_takes_the_best_answer() -> None:
    examples = [
        Example(0, {}, None, ("Пётр Зимин", "Зимин"), "0", "0"),
        Example(1, {}, None, ("США",), "1", "1"),
        Example(2, {}, None, ("Нижнего Новгорода",), "2", "2"),
    ]
    found = score("rucos", examples, [Prediction(0, "зимин."), Prediction(1, "Франция"), Prediction(2, "Новгорода")])
    assert found == {"f1": pytest.approx((1 + 0 + 2 / 3) / 3), "em": pytest.approx(1 / 3)}
    assert normalise_answer("  «Хафтар»,   США!  ") == "«хафтар» сша"  # ASCII punctuation alone, as published
    assert token_f1("а б б", "б б в") == pytest.approx(2 * 2 / 6)


def test_order_of_predictions_does_not_matter_and_other_items_are_refused() -> None:
    true = [True, False, True]
    assert score("russe", _plain(true), _given(true)[::-1]) == {"accuracy": 1.0}
    with pytest.raises(SlonikError, match=r"no answer to 2 \(1 missing\)"):
        score("russe", _plain(true), _given(true)[:2])
    with pytest.raises(SlonikError, match="an answer to 7, which is no item"):
        score("russe", _plain(true), [*_given(true), Prediction(7, True)])
    with pytest.raises(SlonikError, match="comes twice"):
        score("russe", _plain(true), [*_given(true), Prediction(0, True)])
    with pytest.raises(SlonikError, match="3 of 3 items of RUSSE have no label"):
        score("russe", _plain([None] * 3), _given(true))


def test_resampling_weights_whole_clusters() -> None:
    examples = _answers([[1, 0], [0, 1], [1, 1], [0, 0]])
    rows = [Prediction(e.idx, label) for e, label in zip(examples, [1, 0, 1, 1, 0, 1, 0, 0], strict=True)]
    for statistic in statistics_of("muserc", examples, rows).values():
        assert statistic.n == 2  # two passages
        twice_first = statistic.resampled(np.array([[2.0, 0.0]]))[0]
        chosen = [e for e in examples if e.cluster == "0"]
        alone = statistics_of("muserc", chosen, [r for r in rows if r.idx in {e.idx for e in chosen}])
        assert twice_first in [pytest.approx(part.value) for part in alone.values()]


def test_replicates_of_macro_f1_keep_the_label_set() -> None:
    true = ["entailment"] * 20 + ["contradiction"]
    statistic = statistics_of("rcb", _plain(true), _given(["entailment"] * 21))["macro_f1"]
    assert max(replicates(statistic, seed=0, sample="x")) <= 0.5 + 1e-12


def test_a_task_with_two_metrics_counts_by_their_mean(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "val.jsonl"
    path.write_text("")
    true = ["entailment", "neutral", "neutral", "contradiction"]
    examples = _plain(true)
    part = Part(TASKS["rcb"], "val", path, tuple(examples), None)
    found = scored(part, _given(["entailment"] * 4), "m")
    values = {record.metric: record.value for record in found.records}
    assert list(values) == ["macro_f1", "accuracy", "mean"] and found.main.metric == "mean"
    assert values["mean"] == pytest.approx((values["macro_f1"] + values["accuracy"]) / 2)  # type: ignore[operator]
    assert all(r.low <= r.value <= r.high for r in found.records)  # type: ignore[operator]
    assert TaskMean(list(statistics_of("rcb", examples, _given(true)).values())).value == 1


def test_units_of_paired_tests_are_questions_in_muserc() -> None:
    examples = _answers([[1, 0], [0, 1]])
    rows = [Prediction(e.idx, label) for e, label in zip(examples, [1, 0, 1, 1], strict=True)]
    assert hits_of("muserc", examples, rows) == [True, False]


def test_both_directions_of_a_pair_and_items_of_one_text_are_drawn_together() -> None:
    fields = [("а", "б"), ("б", "А "), ("в", "г")]
    pairs = [
        Example(n, {"sentence1": one, "sentence2": two}, "entailment", (), str(n), str(n))
        for n, (one, two) in enumerate(fields)
    ]
    rows = [Prediction(n, "entailment") for n in range(3)]
    assert statistics_of("lidirus", pairs, rows)["matthews"].n == 2
    texts = [Example(n, {"text": "т", "premise": "т"}, True, (), str(n), str(n)) for n in range(3)]
    assert statistics_of("rwsd", texts, [Prediction(n, True) for n in range(3)])["accuracy"].n == 1
