"""What teachers say and token ids, on disk: computed once, continued after a crash, anew for other inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slonik.core.errors import SlonikError
from slonik.core.protocols import FloatArray
from slonik.train import teacher_cache
from slonik.train.ragged import Ragged, tokenized
from slonik.train.teacher_cache import cached_token_states, teacher_vectors

TEXTS = [f"текст {'а' * (number % 7)} {number}" for number in range(50)]


class _Teacher:
    """Encodes a text as its length and its number of words; counts what it was asked."""

    name = "teacher"
    dimension = 3

    def __init__(self, weights: str = "w", fail_after: int = 10**9) -> None:
        self.asked: list[str] = []
        self._weights, self._fail_after = weights, fail_after

    def encode(self, texts: Sequence[str], *, prefix: str | None = None) -> FloatArray:
        self.asked += texts
        if len(self.asked) > self._fail_after:
            raise KeyboardInterrupt
        return np.array([[len(text), text.count(" "), len(prefix or "")] for text in texts], dtype=np.float32)

    def describe(self) -> dict[str, Any]:
        return {"name": self.name}

    def identity(self) -> str:
        return self._weights


@pytest.fixture(autouse=True)
def _small_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher_cache, "_POOL_TEXTS", 16)
    monkeypatch.setattr(teacher_cache, "_CALL_TEXTS", 5)


def test_vectors_stand_in_the_order_of_the_texts_and_are_computed_once(tmp_path: Path) -> None:
    first, second = _Teacher(), _Teacher()
    made = teacher_vectors(first, TEXTS, tmp_path)
    assert np.array_equal(made.vectors, _Teacher().encode(TEXTS))
    assert made.vectors.dtype == np.float16
    again = teacher_vectors(second, TEXTS, tmp_path)
    assert second.asked == [] and again.key == made.key
    assert sorted(first.asked) == sorted(TEXTS)


def test_teacher_texts_and_code_make_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {
        teacher_vectors(_Teacher(weights), texts, tmp_path).key
        for weights, texts in [("w", TEXTS), ("v", TEXTS), ("w", TEXTS[1:])]
    }
    monkeypatch.setattr(teacher_cache, "code_of", lambda *modules: "another meaning")
    keys.add(teacher_vectors(_Teacher(), TEXTS, tmp_path).key)
    assert len(keys) == 4


def test_interrupted_cache_is_continued(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        teacher_vectors(_Teacher(fail_after=40), TEXTS, tmp_path)
    rest = _Teacher()
    made = teacher_vectors(rest, TEXTS, tmp_path)
    assert sorted(rest.asked) == sorted(TEXTS[32:])
    assert np.array_equal(made.vectors, _Teacher().encode(TEXTS))


class _Partly(_Teacher):
    """Knows nothing of texts that `unknown` says; gives as many rows less as `lost` says."""

    def __init__(self, unknown: Callable[[str], bool], lost: int = 0) -> None:
        super().__init__(str(lost))
        self._unknown, self._lost = unknown, lost

    def encode(self, texts: Sequence[str], *, prefix: str | None = None) -> FloatArray:
        known = np.array([not self._unknown(text) for text in texts])
        return (super().encode(texts) * known[:, None])[: len(texts) - self._lost]


def test_texts_without_a_vector_are_said_and_a_teacher_without_any_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = teacher_vectors(_Partly(lambda text: text.endswith("1")), TEXTS, tmp_path / "a")
    assert sum(not row.any() for row in made.vectors) == 5
    assert "the teacher teacher has no vector (zeros) for 5 of 50 texts" in capsys.readouterr().err
    with pytest.raises(SlonikError, match=r"has no vector \(all are zero\) for any of 50 texts"):
        teacher_vectors(_Partly(lambda text: True), TEXTS, tmp_path / "b")
    with pytest.raises(SlonikError, match="gave an array of 4 x 3 for 5 texts: 5 x 3 was expected"):
        teacher_vectors(_Partly(lambda text: False, lost=1), TEXTS, tmp_path / "c")


def test_vectors_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    teacher = _Teacher()
    teacher.encode = lambda texts, prefix=None: np.full((len(texts), 3), np.nan, np.float32)  # type: ignore[method-assign]
    with pytest.raises(SlonikError, match="no finite"):
        teacher_vectors(teacher, TEXTS, tmp_path)


def test_token_states_are_ragged_and_must_match_the_students_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def states(texts: Sequence[str]) -> list[np.ndarray]:
        return [np.full((len(text), 2), len(text)) for text in texts]

    lengths = np.array([len(text) for text in TEXTS])
    options: dict[str, Any] = {"dimension": 2, "identity": {"weights": "w"}}
    made = cached_token_states(states, TEXTS, lengths, tmp_path, **options)
    assert [len(row) for row in made] == lengths.tolist()
    assert all((row == length).all() for row, length in zip(made, lengths, strict=True))

    def rather(texts: Sequence[str]) -> list[np.ndarray]:
        raise AssertionError("computed again")

    monkeypatch.setattr(teacher_cache, "code_identity", lambda **work: "the same meaning")
    first = cached_token_states(states, TEXTS, lengths, tmp_path, **options)
    again = cached_token_states(rather, TEXTS, lengths, tmp_path, **options)
    assert again.key == first.key != made.key and np.array_equal(again.values, made.values)
    with pytest.raises(SlonikError, match=r"cuts text 3 into \d+ tokens"):
        cached_token_states(states, TEXTS, lengths + (np.arange(50) == 3), tmp_path, **options)


def test_tokens_are_made_once(tmp_path: Path) -> None:
    calls = []

    def tokenize(texts: Sequence[str]) -> list[list[int]]:
        calls.append(len(texts))
        return [[len(word) for word in text.split()] for text in texts]

    first = tokenized(tokenize, TEXTS, tmp_path, identity="tokenizer")
    second = tokenized(tokenize, TEXTS, tmp_path, identity="tokenizer")
    assert calls == [50] and second.key == first.key
    assert [row.tolist() for row in second] == tokenize(TEXTS)
    assert tokenized(tokenize, TEXTS, tmp_path, identity="another").key != first.key


def test_damaged_token_cache_is_named(tmp_path: Path) -> None:
    tokenized(lambda texts: [[1] for _ in texts], TEXTS, tmp_path, identity=0)
    next(tmp_path.iterdir()).joinpath("offsets.npy").write_bytes(b"")
    with pytest.raises(SlonikError, match="is damaged"):
        tokenized(lambda texts: [[1] for _ in texts], TEXTS, tmp_path, identity=0)


def test_rows_of_no_tokens_are_rows() -> None:
    rows = Ragged.of([[], [4, 5], []])
    assert [row.tolist() for row in rows] == [[], [4, 5], []]
