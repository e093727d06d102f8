"""Runs as one table of candidates: normalisation of texts, and the scorer against the official metrics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slonik.evaluation.russian_superglue.ballots import Ballots, Scorer
from slonik.evaluation.russian_superglue.metrics import score, task_value
from slonik.evaluation.russian_superglue.predictions import Prediction
from slonik.evaluation.russian_superglue.readers import read_examples
from slonik.evaluation.russian_superglue.tasks import TASKS, Example
from tests.evaluation.russian_superglue import samples
from tests.evaluation.russian_superglue.samples import write_rows


def test_texts_that_differ_in_case_and_punctuation_are_one_candidate() -> None:
    example = Example(0, {"entities": ["Германии", "Хафтар"]}, None, ("Хафтар",), "0", "0")
    runs = [[Prediction(0, "германии")], [Prediction(0, "хафтар.")], [Prediction(0, "Хафтар!")]]
    ballots = Ballots.of(TASKS["rucos"], [example], runs)
    assert ballots.candidates == (("Германии", "Хафтар"),)
    assert ballots.probabilities[:, 0].tolist() == [[1, 0], [0, 1], [0, 1]]
    assert ballots.right.tolist() == [[False, True]]
    row = ballots.picked(ballots.probabilities.mean(axis=0))[0]
    assert row.label == "Хафтар" and row.probabilities == pytest.approx({"Германии": 1 / 3, "Хафтар": 2 / 3})


def test_spellings_of_one_name_are_one_candidate_that_the_passage_spells() -> None:
    entities = ["Орел", "Нью-Йорк", "«Заря»", "Омск"]
    example = Example(0, {"entities": entities}, None, ("Нью-Йорк",), "0", "0")
    spelled = [
        ("Орёл", "Орел"),
        ("Нью Йорк", "Нью-Йорк"),
        ("нью‑йорк", "Нью-Йорк"),
        ('"Заря"', "«Заря»"),
        ("О́мск", "Омск"),
    ]
    for given, wanted in spelled:
        ballots = Ballots.of(TASKS["rucos"], [example], [[Prediction(0, given)]])
        assert len(ballots.candidates[0]) == len(entities), given
        assert ballots.picked(ballots.probabilities[0])[0].label == wanted
    # two spellings in the passage: the one that the runs prefer is written, and together they outvote a third
    both = Example(0, {"entities": ["Нью Йорк", "Нью-Йорк", "Омск"]}, None, ("Нью-Йорк",), "0", "0")
    votes = [[Prediction(0, "Нью-Йорк", {"Нью Йорк": 0.28, "Нью-Йорк": 0.32, "Омск": 0.4})]]
    ballots = Ballots.of(TASKS["rucos"], [both], votes)
    assert ballots.picked(ballots.probabilities[0])[0].label == "Нью-Йорк" and ballots.right[0].tolist() == [
        True,
        False,
    ]


def test_an_answer_that_is_no_entity_is_a_candidate_of_its_own() -> None:
    example = Example(0, {"entities": ["Омск"]}, None, (), "0", "0")
    ballots = Ballots.of(TASKS["rucos"], [example], [[Prediction(0, "Омск")], [Prediction(0, "город Омск")]])
    assert ballots.candidates == (("Омск", "город Омск"),) and not ballots.right.any()


def test_probabilities_of_the_same_text_are_added_and_missing_ones_are_the_answer() -> None:
    example = Example(0, {"entities": ["США", "сша."]}, None, ("США",), "0", "0")
    runs = [[Prediction(0, "США", {"США": 0.6, "сша.": 0.4})]]
    assert Ballots.of(TASKS["rucos"], [example], runs).probabilities[0, 0] == pytest.approx([1.0])
    pair = Example(0, {}, "entailment", (), "0", "0")
    ballots = Ballots.of(TASKS["terra"], [pair], [[Prediction(0, "not_entailment")]])
    assert ballots.probabilities.tolist() == [[[0.0, 1.0]]]


@pytest.mark.parametrize("task", sorted(TASKS))
def test_the_scorer_is_the_official_metric_for_any_choice_and_subset(task: str, tmp_path: Path) -> None:
    rows = {**samples.ROWS, "LiDiRus": samples.LIDIRUS}[TASKS[task].name]
    examples = read_examples(task, write_rows(tmp_path / "all.jsonl", rows))
    rng = np.random.default_rng(0)
    start = [Prediction(e.idx, e.fields["entities"][0] if task == "rucos" else TASKS[task].labels[0]) for e in examples]
    ballots = Ballots.of(TASKS[task], examples, [start])
    scorer = Scorer(ballots)
    clusters = list(dict.fromkeys(e.cluster for e in examples))
    for _ in range(5):
        chosen = set(rng.choice(clusters, size=max(2, len(clusters) // 2), replace=False))
        items = np.array([n for n, e in enumerate(examples) if e.cluster in chosen])
        combined = np.where(ballots.known, rng.random(ballots.known.shape), 0)
        picked = ballots.picked(combined)
        expected = score(task, [examples[n] for n in items], [picked[n] for n in items])
        assert scorer.value(combined[items], items) == pytest.approx(task_value(list(expected.values())))
