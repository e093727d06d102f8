"""A table finds a teacher whose vectors are means of token vectors, through a view and for rare tokens."""

from __future__ import annotations

import numpy as np
import pytest

from slonik.compression.blend import fit_blend, side_by_side
from slonik.compression.static.config import TableConfig
from slonik.compression.static.table import Lesson, fit_table, start_rows, token_counts
from slonik.compression.static.teaching import beside
from slonik.core.errors import SlonikError

V, D, E = 40, 8, 5


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(V, D)).astype(np.float32)


@pytest.fixture(scope="module")
def ids() -> list[np.ndarray]:
    random = np.random.default_rng(1)
    return [random.integers(0, V - 1, size=random.integers(2, 9)) for _ in range(600)]  # the last token never comes


def _means(rows: np.ndarray, ids: list[np.ndarray]) -> np.ndarray:
    return np.stack([rows[row].mean(0) for row in ids])


@pytest.fixture(scope="module")
def start() -> np.ndarray:
    return np.random.default_rng(2).normal(size=(V, D)).astype(np.float32)


def test_the_table_of_such_a_teacher_is_found(truth: np.ndarray, ids: list[np.ndarray], start: np.ndarray) -> None:
    targets = _means(truth, ids)
    table = fit_table(
        start, [Lesson(ids[100:], targets[100:])], Lesson(ids[:100], targets[:100]),
        TableConfig(iterations=20, ridge=1e-3),
    )  # fmt: skip
    assert table.agreement[0] < 0.3
    assert table.agreement[table.best] == max(table.agreement) > 0.999
    np.testing.assert_allclose(_means(table.vectors, ids[:100]), targets[:100], atol=0.05)


def test_the_rows_are_those_of_the_normal_equations(truth: np.ndarray, ids: list[np.ndarray]) -> None:
    targets, ridge = _means(truth, ids), 0.5
    shares = np.stack([np.bincount(row, minlength=V) / len(row) for row in ids])
    # Where every row begins as 0 the map changes nothing, so this is ridge regression.
    expected = np.linalg.solve(shares.T @ shares + ridge * np.eye(V), shares.T @ targets)
    held = Lesson(ids, targets)
    table = fit_table(
        np.zeros((V, D), dtype=np.float32), [Lesson(ids, targets)], held, TableConfig(iterations=40, ridge=ridge)
    )
    np.testing.assert_allclose(table.vectors, expected, atol=2e-3)


def test_a_token_without_texts_goes_along_with_the_map(ids: list[np.ndarray], start: np.ndarray) -> None:
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(D, D)))[0].astype(np.float32)
    targets = _means(start @ turn, ids)
    table = fit_table(start, [Lesson(ids, targets)], Lesson(ids, targets), TableConfig(iterations=4))
    wanted = start[-1] @ turn
    cosine = table.vectors[-1] @ wanted / np.linalg.norm(table.vectors[-1]) / np.linalg.norm(wanted)
    assert cosine > 0.99


def test_a_lesson_in_another_space_is_read_through_its_view(
    truth: np.ndarray, ids: list[np.ndarray], start: np.ndarray
) -> None:
    views = [np.linalg.qr(np.random.default_rng(seed).normal(size=(D, E)))[0].astype(np.float32) for seed in (4, 5)]
    seen = [_means(truth, ids) @ view for view in views]
    first = Lesson(ids[:40], _means(truth, ids[:40]))  # too few to say all
    held = Lesson(ids[400:], _means(truth, ids[400:]))
    lessons = [Lesson(ids[40:400], one[40:400], view) for one, view in zip(seen, views, strict=True)]
    settings = TableConfig(iterations=30, ridge=1e-2)
    alone, taught = (fit_table(start, some, held, settings) for some in ([first], [first, *lessons]))
    assert max(taught.agreement) > max(alone.agreement) + 0.05
    assert max(taught.agreement) > 0.98


def test_without_iterations_rows_stay_as_they_are(ids: list[np.ndarray], start: np.ndarray) -> None:
    lesson = Lesson(ids, _means(start, ids))
    table = fit_table(start, [lesson], lesson, TableConfig(iterations=0))
    np.testing.assert_array_equal(table.vectors, start)
    assert table.best == 0 and len(table.agreement) == 1


def test_frequent_tokens_begin_shorter() -> None:
    counts = token_counts([np.array([0, 0, 0, 1]), np.array([0, 1, 2])], 4)
    assert counts.tolist() == [4, 2, 1, 0]
    lengths = np.linalg.norm(start_rows(np.eye(4, dtype=np.float32), counts), axis=1)
    assert lengths[0] < lengths[1] < lengths[2] < lengths[3]
    assert lengths.mean() == pytest.approx(1.0)


def test_what_cannot_be_learnt_from_is_refused(ids: list[np.ndarray]) -> None:
    lesson = Lesson(ids, np.zeros((len(ids), D), dtype=np.float32))
    with pytest.raises(SlonikError, match="larger corpus"):
        fit_table(np.zeros((V, D), dtype=np.float32), [Lesson([], lesson.targets)], lesson)
    with pytest.raises(SlonikError, match="has 8 dimensions and the table 4"):
        fit_table(np.zeros((V, 4), dtype=np.float32), [lesson], lesson)


def test_what_a_teacher_does_not_know_is_zero_in_the_view_of_the_others() -> None:
    random = np.random.default_rng(3)
    parts = [random.normal(2.0, 1.0, size=(30, size)).astype(np.float32) for size in (4, 6, 5)]
    blend = fit_blend(parts, (1.0, 1.0, 1.0), dimension=D)
    asked = [part[:3].copy() for part in parts[1:]]
    asked[0][1] = 0.0
    found = beside(blend, asked, 1)
    assert not found[1, :6].any() and found[1, 6:].any() and found[[0, 2], :6].any(1).all()
    whole = [parts[0][:3], *asked]
    assert np.allclose(found, side_by_side(whole, blend.means, blend.weights)[:, 4:])
