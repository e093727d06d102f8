"""Which steps a change makes anew, and with nothing changed none: calls that stop before the first of these steps.

That those steps then make what an undisturbed call makes, tests/test_identity.py holds for all commands.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


_MEASURED = distilling.agreement_records


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with models and texts; calls are interrupted after their last step."""

    def stop(*_: Any, **__: Any) -> None:
        raise Stop

    root = tmp_path_factory.mktemp("place")
    teacher = load(tiny.checkpoint(root / "teacher", "bert", layers=3))
    pooling = json.dumps({"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True})
    (root / "teacher" / "1_Pooling" / "config.json").write_text(pooling)
    cut = apply(teacher.model, keep_layers(whole(teacher.model), [0, 2]))
    save(TorchEncoder(cut, teacher.tokenizer, teacher.sentence, source=teacher.source), root / "student")
    shutil.copytree(root / "student", root / "other")
    (root / "texts").mkdir()
    corpus.write(root / "texts")
    (root / "texts" / "pairs.tsv").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLONIK_CACHE", str(root / "cache"))
        patch.setattr(compressing, "_measured", stop)
        patch.setattr(distilling, "agreement_records", stop)
        yield root


@pytest.fixture(scope="module")
def done(place: Path) -> Path:
    """The same after one call of each command."""
    assert _anew(_compress(place)) == STEPS
    assert _anew(_distill(place)) == [STEPS[0], STEPS[3]]
    return place


@contextmanager
def _changed(*files: Path) -> Iterator[None]:
    """Put back what stood in `files` when the block ends."""
    before = {file: file.read_bytes() for file in files}
    try:
        yield
    finally:
        for file, content in before.items():
            file.write_bytes(content)


def _corpus(place: Path, **changes: Any) -> dict[str, Any]:
    given = {"texts": [str(place / "texts")], "held_out_texts": 20, "held_out_share": 0.2, "near_pairs": 20}
    return given | changes


def _said(run: Callable[[Any, Callable[[str], None]], object], config: Any, *, look: bool) -> list[str]:
    """What is announced until the run is interrupted: after its last step, or to `look`, before any that is made."""
    said: list[str] = []

    def announce(line: str) -> None:
        said.append(line)
        if look and _anew([line]):
            raise Stop

    with pytest.raises(Stop):
        run(config, announce)
    return said


def _compress(place: Path, *, look: bool = False, **changes: Any) -> list[str]:
    values = {
        "model": str(place / "teacher"), "out": str(place / "compressed"), "corpus": _corpus(place),
        "distill": DISTILL, "trim": {"min_count": 1}, "prune": {"keep_layers": [0, 2], "refit": False},
    }  # fmt: skip
    return _said(run_compress, CompressConfig.model_validate(values | changes), look=look)


def _distill(place: Path, *, look: bool = False, **changes: Any) -> list[str]:
    values = {
        "model": str(place / "student"), "teacher": str(place / "teacher"), "out": str(place / "distilled"),
        "corpus": _corpus(place), "distill": DISTILL | {"teachers": [str(place / "other")]},
    }  # fmt: skip
    return _said(run_distill, DistillRecipe.model_validate(values | changes), look=look)


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


TEXTS, POOLING = "texts/ru.txt", "teacher/1_Pooling/config.json"
INPUTS: dict[str, Callable[[Path], object]] = {
    TEXTS: _swap_letters,
    POOLING: lambda file: _set(file, pooling_mode_mean_tokens=False, pooling_mode_cls_token=True),
    "teacher/config.json": lambda file: _set(file, hidden_act="relu"),
    "teacher/tokenizer.json": lambda file: _set(file, normalizer={"type": "Lowercase"}),
    "student/config.json": lambda file: _set(file, hidden_act="relu"),
    "other/config.json": lambda file: _set(file, hidden_act="relu"),
}


def test_nothing_changed_is_done_before(done: Path) -> None:
    assert [line for line in _compress(done) if "done before" in line] == [f"{step}: done before" for step in STEPS]
    assert _anew(_distill(done)) == []


@pytest.mark.parametrize("name", list(INPUTS)[:4])
def test_compress_begins_anew_where_a_changed_file_decides(done: Path, name: str) -> None:
    with _changed(done / name):
        INPUTS[name](done / name)
        said = _compress(done, look=True)
    assert _anew(said) == [STEPS[0] if name == TEXTS else STEPS[1]]
    told = next(line for line in said if "made anew" in line)
    assert ("corpus.ru.txt" if name == TEXTS else "teacher.") in told


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({"seed": 1}, 0),
        ({"trim": {"min_count": 2}}, 1),
        ({"prune": {"keep_layers": [0, 1], "refit": False}}, 2),
        ({"distill": DISTILL | {"max_steps": 3}}, 3),
        ({"distill": DISTILL | {"teachers": ["hashing_300"]}}, 3),
        ({"distill": DISTILL | {"save_every_minutes": 1}}, 4),
    ],
)
def test_compress_begins_anew_where_a_field_decides(done: Path, changes: dict[str, Any], first: int) -> None:
    assert _anew(_compress(done, look=True, **changes)) == STEPS[first : first + 1]


@pytest.mark.parametrize("name", INPUTS)
def test_distill_trains_anew_where_a_file_changed(done: Path, name: str) -> None:
    with _changed(done / name):
        INPUTS[name](done / name)
        assert _anew(_distill(done, look=True)) == [STEPS[0] if name == TEXTS else STEPS[3]]


@pytest.mark.parametrize(
    "changes", [{"max_tokens": 16}, {"without_prefix": 0.9}, {"teachers": ["hashing_300"]}, {"teachers": []}], ids=str
)
def test_distill_trains_anew_where_a_field_changed(done: Path, changes: dict[str, Any]) -> None:
    sampling = {name: value for name, value in changes.items() if name != "teachers"}
    teaching = DISTILL | {"teachers": changes.get("teachers", [str(done / "other")])}
    assert _anew(_distill(done, look=True, corpus=_corpus(done, **sampling), distill=teaching)) == [STEPS[3]]


def test_an_old_folder_of_steps_is_refused(place: Path) -> None:
    (place / "old.steps" / "corpus-0123456789ab").mkdir(parents=True)
    (place / "old.steps" / "corpus-0123456789ab" / "step.json").write_text("{}")
    with pytest.raises(SlonikError, match="was left by an earlier version of slonik"):
        run_distill(DistillRecipe(model="x", teacher="y", out=str(place / "old")))
    assert not (place / "old").exists()


def test_steps_go_when_the_result_is_there(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert any("is kept in" in line and "distilled.steps" in line for line in _distill(done))
    monkeypatch.setattr(distilling, "agreement_records", _MEASURED)
    values = {"model": str(done / "student"), "teacher": str(done / "teacher"), "out": str(done / "distilled")}
    values |= {"corpus": _corpus(done), "distill": DISTILL | {"teachers": [str(done / "other")]}}
    made = run_distill(DistillRecipe.model_validate(values))
    assert made.checkpoint == done / "distilled" and (done / "distilled" / "passport.json").is_file()
    assert not (done / "distilled.steps").exists()
