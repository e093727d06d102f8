"""Classifiers of Transformers on tasks that are known here: labels by their names, or a refusal; teachers too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import slonik
from slonik.core.errors import SlonikError
from slonik.evaluation.russian_superglue.tasks import Example
from slonik.finetuning.encoder_learner import lesson_of
from slonik.finetuning.predictors import answerer_of, examples_answerer
from slonik.models.task_model import load_task_model
from slonik.text.label_map import label_map
from slonik.text.task_config import TaskConfig
from tests.finetuning.finetune_data import write_lines
from tests.models.heads.foreign import foreign

ROW = {"premise": "Мама мыла раму.", "hypothesis": "Рама чистая.", "idx": 0}


def mapped(own: str, wanted: str) -> list[list[float]]:
    return label_map(own.split(), wanted.split(), "it", "the task").tolist()


def test_labels_go_by_their_names_whatever_their_spelling_and_order() -> None:
    assert mapped("NOT-ENTAILMENT Entailment", "entailment not_entailment") == [[0, 1], [1, 0]]
    assert mapped("нет да", "false true") == [[1, 0], [0, 1]]
    assert mapped("contradiction entailment neutral", "entailment not_entailment") == [[0, 1], [1, 0], [0, 1]]
    assert mapped("contradiction entailment neutral", "not_entailment entailment") == [[1, 0], [0, 1], [1, 0]]


def test_labels_without_names_are_taken_in_order_and_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert mapped("LABEL_0 LABEL_1", "false true") == [[1, 0], [0, 1]]
    assert "LABEL_0 = false, LABEL_1 = true" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("own", "wanted"),
    [
        ("positive negative", "entailment not_entailment"),
        ("LABEL_0 LABEL_1 LABEL_2", "entailment not_entailment"),
        ("entailment not_entailment", "entailment contradiction neutral"),
        ("LABEL_1 LABEL_0", "false true"),
        ("да yes", "false true"),
    ],
)
def test_other_labels_are_refused_by_both_lists(own: str, wanted: str) -> None:
    with pytest.raises(SlonikError) as raised:
        mapped(own, wanted)
    assert ", ".join(own.split()) in str(raised.value) and ", ".join(wanted.split()) in str(raised.value)


def test_a_classifier_of_transformers_answers_an_official_task(tmp_path: Path) -> None:
    labels = ("contradiction", "entailment", "neutral")
    folder = foreign(tmp_path / "nli", "bert", "sequence", labels=labels)
    chances = load_task_model(folder).predict([(ROW["premise"], ROW["hypothesis"])])[0].probabilities
    answer = slonik.predict(folder, [ROW], task="terra")[0]
    wanted = {"entailment": chances["entailment"], "not_entailment": chances["contradiction"] + chances["neutral"]}
    assert dict(answer.probabilities) == pytest.approx(wanted, abs=2e-2)  # the one in bfloat16
    assert answer.label in ("entailment", "not_entailment")
    answered = examples_answerer(answerer_of(load_task_model(folder), "rcb"), "rcb", 8)
    found = answered([Example(0, ROW, None, (), "a", "a")])[0]
    assert found.probabilities == pytest.approx(dict(chances), abs=2e-2)
    with pytest.raises(SlonikError, match="they cannot be mapped"):
        slonik.predict(folder, [{"question": "а", "passage": "б", "idx": 0}], task="danetqa")
    with pytest.raises(SlonikError, match="marked words compared"):
        answerer_of(load_task_model(folder), "rwsd")
    number = foreign(tmp_path / "number", "bert", "sequence", labels=("балл",))
    with pytest.raises(SlonikError, match="gives a number, and terra wants one label of several"):
        slonik.predict(number, [ROW], task="terra")


def test_what_a_teacher_says_is_in_the_terms_of_the_student() -> None:
    student = TaskConfig(kind="sequence", labels=("да", "нет"))
    teacher = TaskConfig(kind="sequence", shape="stock", labels=("нет", "да"))
    logits = np.array([1.0, 3.0], dtype=np.float32)
    own = lesson_of(student, student, logits, 2.0, "it")
    np.testing.assert_allclose(lesson_of(teacher, student, logits, 2.0, "it"), own[::-1])
    scored = TaskConfig(kind="sequence", target="number", scale=(3.0, 2.0))
    other = TaskConfig(kind="sequence", target="number", shape="stock", activation="sigmoid")
    assert lesson_of(other, scored, np.array([0.0], dtype=np.float32), 2.0, "it")[0] == pytest.approx((0.5 - 3) / 2)
    with pytest.raises(SlonikError, match="they cannot be mapped"):
        lesson_of(TaskConfig(kind="sequence", labels=("а", "б")), student, logits, 1.0, "it")


def test_russian_superglue_measures_it_on_the_tasks_whose_labels_are_its_own(tmp_path: Path) -> None:
    place = tmp_path / "data" / "russian_superglue" / "TERRa"
    rows = [
        {**ROW, "premise": f"Дом {n}.", "idx": n, "label": ("entailment", "not_entailment")[n % 2]} for n in range(12)
    ]
    write_lines(place / "val.jsonl", rows)
    folder = foreign(tmp_path / "nli", "bert", "sequence", labels=("contradiction", "entailment", "neutral"))
    found = slonik.evaluate(folder, "russian_superglue", data_dir=tmp_path / "data", tasks=["terra"])
    assert next(record.n for record in found.records if record.metric == "accuracy" and record.task == "terra") == 12
    mood = foreign(tmp_path / "mood", "bert", "sequence", labels=("радость", "грусть"))
    with pytest.raises(
        SlonikError, match=r"has the labels радость, грусть, which no task .*terra: entailment, not_ent"
    ):
        slonik.evaluate(mood, "russian_superglue", data_dir=tmp_path / "data", tasks=["terra"])
