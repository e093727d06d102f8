"""The texts worth teaching from: those with names, rare labels first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slonik.tagging import telling
from slonik.tagging.config import Lesson
from slonik.tagging.teacher import draw_unlabelled
from slonik.tagging.telling import expected_names, telling_texts
from tests.tagging.models.toys import bilstm, documents


def test_expected_names_are_sums_of_beginnings() -> None:
    rows = np.array([[0.2, 0.7, 0.0, 0.1, 0.0], [0.5, 0.0, 0.4, 0.1, 0.0]])  # O, B-X, I-X, B-Y, I-Y
    assert expected_names(rows) == pytest.approx([0.7, 0.2])


def test_rare_labels_count_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"a": (3.0, 0.0), "b": (0.0, 1.0), "c": (4.0, 0.0), "d": (0.0, 0.0), "e": (2.0, 0.0)}

    def soft(_: object, texts: list[str], *__: object) -> list[np.ndarray]:
        return [np.array([[0.0, said[text][0], 0.0, said[text][1], 0.0]]) for text in texts]

    monkeypatch.setattr(telling, "soft_labels", soft)
    # roots of the sums: 3 and 1, so the scores are 1, 1, 4/3, 0, 2/3
    assert telling_texts(bilstm(), list(said), 1, tmp_path) == ["c"]
    assert telling_texts(bilstm(), list(said), 3, tmp_path) == ["a", "b", "c"]
    assert telling_texts(bilstm(), list(said), 9, tmp_path) == list(said)


def test_a_real_teacher_chooses_and_remembers(tmp_path: Path) -> None:
    texts = [one.text for one in documents()]
    first = telling_texts(bilstm(), texts, 3, tmp_path / "cache")
    assert len(first) == 3 and set(first) <= set(texts) and list((tmp_path / "cache").iterdir())
    assert telling_texts(bilstm(), texts, 3, tmp_path / "cache") == first


def test_candidates_are_drawn_instead(tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_text("\n".join(f"Строка номер {number} о безопасности" for number in range(30)), encoding="utf-8")
    lesson = Lesson(teacher="x", unlabelled=(str(file),), max_texts=5, candidates=12, shortest=10)
    assert len(draw_unlabelled(lesson, 0)) == 12
    assert len(draw_unlabelled(lesson.model_copy(update={"candidates": 0}), 0)) == 5
