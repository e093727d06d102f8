"""A second call with one thing changed is never "done before", and with nothing changed always."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slonik.compression import compress as compressing
from slonik.compression import distill as distilling
from slonik.compression.compress import run_compress
from slonik.compression.config import CompressConfig
from slonik.compression.distill import DistillRecipe, run_distill
from slonik.compression.plan import keep_layers, whole
from slonik.compression.surgery import apply
from slonik.core.errors import SlonikError
from slonik.models.encoder import TorchEncoder
from slonik.models.loading import load, save
from tests import tiny
from tests.compression import toy_corpus as corpus

STEPS = ["sampling the corpus", "trimming the vocabulary", "cutting structures", "distilling"]
DISTILL = {"max_steps": 2, "batch_tokens": 512, "precision": "fp32", "evaluations": 1}


class Stop(Exception):
    """Stands for an interruption after the last step."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SLONIK_CACHE", str(tmp_path / "cache"))

    def stop(*_: Any, **__: Any) -> None:
        raise Stop

    monkeypatch.setattr(compressing, "_measured", stop)
    monkeypatch.setattr(distilling, "agreement_records", stop)
    teacher = load(tiny.checkpoint(tmp_path / "teacher", "bert", layers=3))
    pooling = json.dumps({"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True})
    (tmp_path / "teacher" / "1_Pooling").mkdir(exist_ok=True)
    (tmp_path / "teacher" / "1_Pooling" / "config.json").write_text(pooling)
    cut = apply(teacher.model, keep_layers(whole(teacher.model), [0, 2]))
    save(TorchEncoder(cut, teacher.tokenizer, teacher.sentence, source=teacher.source), tmp_path / "student")
    shutil.copytree(tmp_path / "student", tmp_path / "other")
    (tmp_path / "texts").mkdir()
    corpus.write(tmp_path / "texts")
    return tmp_path


def _corpus(place: Path, **changes: Any) -> dict[str, Any]:
    given = {"texts": [str(place / "texts" / "ru.txt")], "held_out_texts": 20, "held_out_share": 0.2, "near_pairs": 20}
    return given | changes


def _compress(place: Path, **changes: Any) -> list[str]:
    """What is announced until the run is interrupted after its last step."""
    values = {
        "model": str(place / "teacher"), "out": str(place / "out"), "corpus": _corpus(place), "distill": DISTILL,
        "trim": {"min_count": 1}, "prune": {"keep_layers": [0, 2], "refit": False},
    }  # fmt: skip
    said: list[str] = []
    with pytest.raises(Stop):
        run_compress(CompressConfig.model_validate(values | changes), said.append)
    return said


def _distill(place: Path, **changes: Any) -> list[str]:
    values = {
        "model": str(place / "student"), "teacher": str(place / "teacher"), "out": str(place / "out"),
        "corpus": _corpus(place), "distill": DISTILL,
    }  # fmt: skip
    said: list[str] = []
    with pytest.raises(Stop):
        run_distill(DistillRecipe.model_validate(values | changes), said.append)
    return said


def _anew(said: list[str]) -> list[str]:
    """Titles of the steps that were made anew."""
    return [line.partition(" ...")[0] for line in said if " ..." in line and line.partition(" ...")[0] in STEPS]


def _swap_letters(path: Path) -> None:
    """Other content of the same size under the same name."""
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("дом", "мод"), encoding="utf-8")
    assert text != path.read_text(encoding="utf-8")


def _set(path: Path, **values: Any) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | values), encoding="utf-8")


CORPUS: Callable[[Path], object] = lambda place: _swap_letters(place / "texts" / "ru.txt")  # noqa: E731
TEACHER: dict[str, Callable[[Path], object]] = {
    "pooling": lambda place: _set(
        place / "teacher" / "1_Pooling" / "config.json", pooling_mode_mean_tokens=False, pooling_mode_cls_token=True
    ),
    "config": lambda place: _set(place / "teacher" / "config.json", hidden_act="relu"),
    "tokenizer": lambda place: _set(place / "teacher" / "tokenizer.json", normalizer={"type": "Lowercase"}),
}


def test_nothing_changed_is_done_before(place: Path) -> None:
    assert _anew(_compress(place)) == STEPS
    assert [line for line in _compress(place) if "done before" in line] == [f"{step}: done before" for step in STEPS]
    (place / "out.steps").rename(place / "compress.steps")
    assert _anew(_distill(place)) == [STEPS[0], STEPS[3]] and _anew(_distill(place)) == []


def test_compress_sees_a_changed_file_in_a_folder(place: Path) -> None:
    folder = {"corpus": _corpus(place, texts=[str(place / "texts")])}
    (place / "texts" / "pairs.tsv").unlink()
    _compress(place, **folder)
    CORPUS(place)
    said = _compress(place, **folder)
    assert _anew(said) == STEPS and "corpus.ru.txt" in said[0]


@pytest.mark.parametrize("what", TEACHER)
def test_compress_sees_a_changed_teacher(place: Path, what: str) -> None:
    _compress(place)
    TEACHER[what](place)
    said = _compress(place)
    assert _anew(said) == STEPS[1:] and any("teacher." in line for line in said)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"seed": 1}, STEPS),
        ({"trim": {"min_count": 2}}, STEPS[1:]),
        ({"prune": {"keep_layers": [0, 1], "refit": False}}, STEPS[2:]),
        ({"distill": DISTILL | {"max_steps": 3}}, STEPS[3:]),
        ({"distill": DISTILL | {"teachers": ["hashing_300"]}}, STEPS[3:]),
        ({"distill": DISTILL | {"save_every_minutes": 1}}, []),
    ],
)
def test_compress_makes_anew_what_a_field_decides(place: Path, changes: dict[str, Any], expected: list[str]) -> None:
    _compress(place)
    assert _anew(_compress(place, **changes)) == expected


@pytest.mark.parametrize(
    ("change", "changes"),
    [
        (CORPUS, {}),
        *((change, {}) for change in TEACHER.values()),
        (lambda place: _set(place / "student" / "config.json", hidden_act="relu"), {}),
        (None, {"max_tokens": 16}),
        (None, {"without_prefix": 0.9}),
        (None, {"teachers": ["hashing_300"]}),
    ],
)
def test_distill_trains_anew(place: Path, change: Callable[[Path], object] | None, changes: dict[str, Any]) -> None:
    _distill(place)
    if change is not None:
        change(place)
    teachers = changes.pop("teachers", ())
    values = {"corpus": _corpus(place, **changes), "distill": DISTILL | {"teachers": teachers}}
    assert STEPS[3] in _anew(_distill(place, **values))


def test_a_further_teacher_that_changed_is_another_one(place: Path) -> None:
    values = {"distill": DISTILL | {"teachers": [str(place / "other")]}}
    _distill(place, **values)
    assert _anew(_distill(place, **values)) == []
    _set(place / "other" / "config.json", hidden_act="relu")
    assert _anew(_distill(place, **values)) == [STEPS[3]]


def test_an_old_folder_of_steps_is_refused(place: Path) -> None:
    (place / "out.steps" / "corpus-0123456789ab").mkdir(parents=True)
    (place / "out.steps" / "corpus-0123456789ab" / "step.json").write_text("{}")
    with pytest.raises(SlonikError, match="was left by an earlier version of slonik"):
        run_distill(DistillRecipe(model="x", teacher="y", out=str(place / "out")))
    assert not (place / "out").exists()


def test_steps_go_when_the_result_is_there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = _distill(place)
    assert any("is kept in" in line and "out.steps" in line for line in said)
    monkeypatch.undo()
    monkeypatch.setenv("SLONIK_CACHE", str(place / "cache"))
    values = {"model": str(place / "student"), "teacher": str(place / "teacher"), "out": str(place / "out")}
    made = run_distill(DistillRecipe.model_validate(values | {"corpus": _corpus(place), "distill": DISTILL}))
    assert made.checkpoint == place / "out" and (place / "out" / "passport.json").is_file()
    assert not (place / "out.steps").exists()
