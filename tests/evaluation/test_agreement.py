"""Agreement is 1 with oneself, 0 with noise, and counts neighbours and translations as by hand."""

from __future__ import annotations

import numpy as np
import pytest

from slonik.evaluation import agreement as module
from slonik.evaluation.agreement import agreement, neighbour_overlap, translation_hits


def test_a_model_agrees_with_itself_whatever_its_scale() -> None:
    vectors = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    metrics = agreement(vectors * 3, vectors)
    assert metrics == pytest.approx({"agreement": 1, "cosine": 1, "similarity": 1, "neighbours": 1}, abs=1e-5)


def test_noise_does_not_agree_although_plain_cosines_look_alike() -> None:
    rng = np.random.default_rng(0)
    common = np.full(16, 3.0)  # the large mean vector that sentence encoders share
    teacher = (common + rng.normal(size=(400, 16))).astype(np.float32)
    student = (common + rng.normal(size=(400, 16))).astype(np.float32)
    metrics = agreement(student, teacher)
    assert metrics["cosine"] > 0.85
    assert abs(metrics["agreement"]) < 0.1
    assert abs(metrics["similarity"]) < 0.1
    assert metrics["neighbours"] < 0.1


def test_many_texts_are_compared_pair_by_pair_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    teacher = rng.normal(size=(300, 16)).astype(np.float32)
    student = teacher + rng.normal(size=(300, 16)).astype(np.float32)
    at_once = agreement(student, teacher)["similarity"]
    monkeypatch.setattr(module, "_ALL_AT_ONCE", 299)
    assert 0.3 < at_once < 0.9 and agreement(student, teacher)["similarity"] == pytest.approx(at_once, abs=1e-6)


def test_dimensions_may_differ() -> None:
    vectors = np.random.default_rng(0).normal(size=(30, 8)).astype(np.float32)
    metrics = agreement(np.concatenate([vectors, np.zeros_like(vectors)], axis=1), vectors)
    assert metrics == pytest.approx({"similarity": 1, "neighbours": 1}, abs=1e-6)


def test_neighbours_and_translations_by_hand() -> None:
    teacher = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]], dtype=np.float32)
    student = np.array([[1, 0], [0, 1], [0.9, 0.1], [0.1, 0.9]], dtype=np.float32)  # 1 and 2 changed places
    assert neighbour_overlap(student, teacher, 1).tolist() == [0, 0, 0, 0]
    assert translation_hits(teacher, student).tolist() == [1, 0, 0, 1]
