"""Soft labels go from one division into words to another and are computed once; texts with rare names come first."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModelForTokenClassification

from slonik.core.errors import SlonikError
from slonik.data.annotations.document import Document, Span
from slonik.runtime.tagging.labels import BioLabels, PlainTags, tag_labels
from slonik.runtime.tagging.names import NameList
from slonik.tagging import distillation as tagging_distillation
from slonik.tagging.config import Distillation
from slonik.tagging.distillation import (
    as_bio,
    carry_over,
    draw_unlabelled,
    expected_names,
    soft_labels,
    texts_with_most_names,
    word_probabilities,
)
from slonik.tagging.material import open_teacher
from tests.tagging.models.toys import LABELS, bilstm, documents, encoder
from tests.tiny.models import checkpoint

TEXTS = [one.text for one in documents()]


def test_equal_words_keep_their_rows() -> None:
    rows = np.array([[0.2, 0.8, 0.0], [1.0, 0.0, 0.0]], dtype=np.float32)
    assert carry_over([(0, 3), (4, 6)], rows, [(0, 3), (4, 6)]) is rows


def test_a_part_of_a_word_goes_inside_and_a_gap_goes_outside() -> None:
    rows = np.array([[0.1, 0.7, 0.2]], dtype=np.float32)  # O, B-X, I-X
    found = carry_over([(0, 10)], rows, [(0, 4), (4, 10), (11, 12)])
    assert np.allclose(found, [[0.1, 0.7, 0.2], [0.1, 0.0, 0.9], [1.0, 0.0, 0.0]])


def test_merged_words_take_the_row_of_the_first() -> None:
    rows = np.array([[0.1, 0.9, 0.0], [0.5, 0.0, 0.5]], dtype=np.float32)
    assert np.allclose(carry_over([(0, 2), (2, 5)], rows, [(0, 5)]), rows[:1])


def test_word_probabilities_are_the_teachers_marginals(tmp_path: Path) -> None:
    teacher = encoder(tmp_path)
    words = [teacher.features.split(text) for text in TEXTS]
    found = word_probabilities(teacher, TEXTS, words)
    for rows, scores in zip(found, teacher.marginals(TEXTS), strict=True):
        assert np.allclose(rows, scores.values)


def test_soft_labels_are_read_from_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher, student = encoder(tmp_path / "teacher"), bilstm()
    first = soft_labels(teacher, TEXTS, student.features, student.bio, tmp_path / "cache")
    assert [len(rows) for rows in first] == [len(student.features.split(text)) for text in TEXTS]

    def never(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(tagging_distillation, "word_probabilities", never)
    second = soft_labels(teacher, TEXTS, student.features, student.bio, tmp_path / "cache")
    assert all(np.array_equal(one, two) for one, two in zip(first, second, strict=True))


def test_other_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match="same classes"):
        soft_labels(encoder(tmp_path), TEXTS, bilstm().features, BioLabels(("PER",)), tmp_path / "cache")


def test_unlabelled_texts_are_distinct_long_enough_and_drawn_by_seed(tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    lines = ["коротко"] + [f"Достаточно длинная строка о безопасности номер {number}" for number in range(30)] * 2
    file.write_text("\n".join(lines), encoding="utf-8")
    lesson = Distillation(teacher="x", unlabelled=(str(file),), max_texts=10, shortest=20)
    drawn = draw_unlabelled(lesson, 0)
    assert len(drawn) == len(set(drawn)) == 10 and all("номер" in text for text in drawn)
    assert drawn == draw_unlabelled(lesson, 0) != draw_unlabelled(lesson, 1)
    assert len(draw_unlabelled(lesson.model_copy(update={"max_texts": 100}), 0)) == 30
    with pytest.raises(SlonikError, match="no text of 500 characters"):
        draw_unlabelled(lesson.model_copy(update={"shortest": 500}), 0)


def test_expected_names_are_sums_of_beginnings() -> None:
    rows = np.array([[0.2, 0.7, 0.0, 0.1, 0.0], [0.5, 0.0, 0.4, 0.1, 0.0]])  # O, B-X, I-X, B-Y, I-Y
    assert expected_names(rows) == pytest.approx([0.7, 0.2])


def test_rare_labels_count_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"a": (3.0, 0.0), "b": (0.0, 1.0), "c": (4.0, 0.0), "d": (0.0, 0.0), "e": (2.0, 0.0)}

    def soft(_: object, texts: list[str], *__: object) -> list[np.ndarray]:
        return [np.array([[0.0, said[text][0], 0.0, said[text][1], 0.0]]) for text in texts]

    monkeypatch.setattr(tagging_distillation, "soft_labels", soft)
    # roots of the sums: 3 and 1, so the scores are 1, 1, 4/3, 0, 2/3
    assert texts_with_most_names(bilstm(), list(said), 1, tmp_path) == ["c"]
    assert texts_with_most_names(bilstm(), list(said), 3, tmp_path) == ["a", "b", "c"]
    assert texts_with_most_names(bilstm(), list(said), 9, tmp_path) == list(said)


def test_a_real_teacher_chooses_and_its_labels_are_kept(tmp_path: Path) -> None:
    texts = [one.text for one in documents()]
    first = texts_with_most_names(bilstm(), texts, 3, tmp_path / "cache")
    assert len(first) == 3 and set(first) <= set(texts) and list((tmp_path / "cache").iterdir())
    assert texts_with_most_names(bilstm(), texts, 3, tmp_path / "cache") == first


def test_candidates_are_drawn_instead(tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_text("\n".join(f"Строка номер {number} о безопасности" for number in range(30)), encoding="utf-8")
    lesson = Distillation(teacher="x", unlabelled=(str(file),), max_texts=5, candidates=12, shortest=10)
    assert len(draw_unlabelled(lesson, 0)) == 12
    assert len(draw_unlabelled(lesson.model_copy(update={"candidates": 0}), 0)) == 5


def test_tags_of_others_become_bio_labels() -> None:
    wanted = BioLabels(("LOC", "PER"))
    plain = tag_labels(["O", "MISC", "PER", "LOC"], rules=False)
    rows = np.array([[0.1, 0.1, 0.8, 0], [0.1, 0, 0.9, 0], [0.3, 0.7, 0, 0], [0.2, 0, 0.1, 0.7]], dtype=np.float32)
    found = as_bio(rows, plain, wanted)
    assert np.allclose(found.sum(-1), 1)
    assert np.allclose(found[0], [0.2, 0, 0, 0.8, 0]) and np.allclose(found[1], [0.1, 0, 0, 0, 0.9])
    assert np.allclose(found[2], [1, 0, 0, 0, 0]) and np.allclose(found[3], [0.2, 0.7, 0, 0.1, 0])
    bioes = tag_labels(["O", "S-LOC", "B-PER", "I-PER", "E-PER"], rules=False)
    rows = np.array([[0, 0, 1, 0, 0], [0, 0, 0, 0.4, 0.6], [0.1, 0.9, 0, 0, 0]], dtype=np.float32)
    assert np.allclose(as_bio(rows, bioes, wanted), [[0, 0, 0, 1, 0], [0, 0, 0, 0, 1], [0.1, 0.9, 0, 0, 0]])
    own = np.eye(5, dtype=np.float32)
    assert as_bio(own, wanted, wanted) is own and as_bio(rows[:0], plain, wanted).shape == (0, 5)


def test_a_tagger_that_transformers_wrote_teaches(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "tiny", "bert")
    names = ["O", *(f"{prefix}-{label}" for label in (*LABELS.classes, "MISC") for prefix in "IB")]
    model = AutoModelForTokenClassification.from_pretrained(
        folder, num_labels=len(names), id2label=dict(enumerate(names)), label2id={n: i for i, n in enumerate(names)}
    )
    model.save_pretrained(tmp_path / "foreign")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(folder / name, tmp_path / "foreign" / name)
    teacher = open_teacher(tmp_path / "foreign")
    assert isinstance(teacher.bio, PlainTags)
    [spans] = teacher.tag(TEXTS[:1])
    assert all(span.confidence is not None for span in spans)
    student = bilstm()
    soft = soft_labels(teacher, TEXTS, student.features, student.bio, tmp_path / "cache")
    assert all(np.allclose(np.asarray(rows, np.float32).sum(-1), 1, atol=1e-2) for rows in soft)
    assert len(texts_with_most_names(teacher, TEXTS, 2, tmp_path / "cache")) == 2
    with pytest.raises(SlonikError, match="do not tag the same classes"):
        soft_labels(teacher, TEXTS, student.features, BioLabels(("SHIP",)), tmp_path / "cache")


def test_a_teacher_is_asked_without_the_names_that_a_text_gave_to_its_list(tmp_path: Path) -> None:
    lone = Document("a", "Вирус Ржавчинка ждёт", (Span(6, 15, "VIRUS"),))
    teacher = bilstm(names=NameList.of(LABELS, [*documents(), lone]))
    words = [teacher.features.split(lone.text)]
    asked = word_probabilities(teacher, [lone.text], words)[0]
    alone = word_probabilities(teacher, [lone.text], words, [lone.spans])[0]
    without = bilstm(names=NameList.of(LABELS, documents()))
    without.model.load_state_dict(teacher.model.state_dict())
    assert not np.allclose(asked, alone)
    assert np.allclose(alone, word_probabilities(without, [lone.text], words)[0])
    kept = soft_labels(teacher, [lone.text], teacher.features, LABELS, tmp_path, [lone.spans])
    assert np.allclose(kept[0], alone, atol=1e-3)
    assert not np.allclose(soft_labels(teacher, [lone.text], teacher.features, LABELS, tmp_path)[0], alone, atol=1e-3)
