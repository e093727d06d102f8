"""Answers by numpy are those of torch's functions; labels, thresholds, numbers and candidates are read as they mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from slonik.core.errors import SlonikError
from slonik.text.answers import answer_of, answers, choice_of, number_of, probabilities
from slonik.text.task_config import TaskConfig

LOGITS = np.array([[0.5, -800.0, 3.0], [800.0, 1.0, -2.0]], dtype=np.float32)
LABELS = ("да", "не знаю", "нет")


def test_probabilities_are_those_of_torch_at_any_temperature() -> None:
    for temperature in (1.0, 2.5):
        exact = torch.from_numpy(LOGITS).double() / temperature
        sure, sigmoid = exact.softmax(-1), exact.sigmoid()
        for target, wanted in (("single", sure), ("choice", sure), ("multi", sigmoid)):
            found = probabilities(LOGITS, target, temperature)  # type: ignore[arg-type]
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, wanted, atol=1e-7)
    np.testing.assert_array_equal(probabilities(LOGITS, "number"), LOGITS)


def test_the_likeliest_label_and_every_label_over_its_threshold_are_the_answers() -> None:
    one = answers(TaskConfig(kind="sequence", labels=LABELS), LOGITS)
    assert [answer.label for answer in one] == ["нет", "да"]
    assert one[0].probabilities["нет"] == pytest.approx(float(torch.tensor(LOGITS[0]).softmax(-1)[2]), abs=1e-6)
    several = TaskConfig(kind="sequence", target="multi", labels=LABELS)
    assert [answer.label for answer in answers(several, LOGITS)] == [["да", "нет"], ["да", "не знаю"]]
    own = several.model_copy(update={"details": {"thresholds": {"да": 0.9}}})
    assert [answer.label for answer in answers(own, LOGITS)] == [["нет"], ["да", "не знаю"]]
    assert answer_of(several, np.array([0.5, 0.5, 0.5])).label == []  # over, not at
    for wrong, words in (({"нет такой": 0.1}, "нет такой"), ({"да": 2}, "from 0 to 1"), ([0.5], "give an object")):
        with pytest.raises(SlonikError, match=words):
            answers(several.model_copy(update={"details": {"thresholds": wrong}}), LOGITS)


def test_a_number_goes_through_its_activation_into_the_units_of_the_data() -> None:
    config = TaskConfig(kind="sequence", target="number", scale=(10.0, 2.0))
    assert answer_of(config, np.array([1.5])).label == pytest.approx(13.0)
    sure = TaskConfig(kind="sequence", target="number", activation="sigmoid")
    assert number_of(sure, np.array([[1.5]])) == pytest.approx(1 / (1 + np.exp(-1.5)))


def test_candidates_of_equal_words_are_one_answer() -> None:
    found = choice_of(["Москва", "Тверь", "Москва"], np.array([0.3, 0.4, 0.3]))
    assert found.label == "Тверь" and found.row["choice"] == 1
    assert found.probabilities == {"Москва": 0.6, "Тверь": 0.4}
