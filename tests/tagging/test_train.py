"""One tagger in the run frame: whole or absent, anew where what decides it has changed; objects as well as paths."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slonik import models
from slonik.core.config import build_config
from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.data.annotations.formats import write_spans_jsonl
from slonik.tagging import making
from slonik.tagging import train as tagging_train
from slonik.tagging.config import TaggerRecipe
from slonik.tagging.data import read_training_texts, text_key
from slonik.tagging.fit import Job
from slonik.tagging.models import load_tagger
from slonik.tagging.models.neural_tagger import NeuralTagger
from slonik.tagging.train import run_tagging, train_tagger
from tests.tagging.models.toys import LABELS, documents, table
from tests.tiny.models import checkpoint

SIZES = {"hidden": 16, "character_features": 8, "learnt_words": 8, "dropout": 0.0, "word_dropout": 0.0}
QUICK = {"epochs": 2, "batch_tokens": 64}
SMALL = {f"system.sizes.{name}": value for name, value in SIZES.items()}


@pytest.fixture(autouse=True)
def _small_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "navec_table", table)


def written(folder: Path) -> str:
    """The eight sentences as a file."""
    write_spans_jsonl(documents(), folder / "data.jsonl")
    return str(folder / "data.jsonl")


def test_one_tagger_of_a_recipe_is_a_folder(tmp_path: Path) -> None:
    data = written(tmp_path)
    system = {"name": "mine", "kind": "bilstm", "sizes": SIZES, "tuning": QUICK}
    settings = {"data": data, "out": str(tmp_path / "mine"), "system": system, "stopping": 0.2}
    found = run_tagging(build_config(TaggerRecipe, settings))
    assert found.summary["fit"] == 6 and found.summary["stop"] == 2
    (micro,) = [record for record in found.records if record.metric == "f1_micro"]
    assert micro.value == pytest.approx(found.summary["f1_stop"]) and micro.n == 2 and micro.low is not None
    assert Passport.read(tmp_path / "mine").records == found.records
    assert {record.task for record in found.records} == {"development set"} and found.checkpoint == tmp_path / "mine"
    assert not (tmp_path / "mine.steps").exists()
    assert load_tagger(tmp_path / "mine").labels == LABELS.classes
    assert read_training_texts(tmp_path / "mine") == {text_key(one.text) for one in documents()}
    with pytest.raises(SlonikError, match="is there already"):
        run_tagging(build_config(TaggerRecipe, settings))


def test_one_document_is_enough_for_a_crf_and_no_t5_becomes_a_tagger(tmp_path: Path) -> None:
    data = written(tmp_path)
    write_spans_jsonl(documents()[:1], tmp_path / "one.jsonl")
    settings: dict[str, Any] = {"data": str(tmp_path / "one.jsonl"), "out": str(tmp_path / "crf")}
    crf = run_tagging(build_config(TaggerRecipe, {**settings, "system": {"name": "crf", "kind": "crf"}}))
    assert crf.summary["fit"] == 1 and crf.records == ()
    system = {"name": "t5", "kind": "encoder", "model": str(checkpoint(tmp_path / "t5", "t5"))}
    with pytest.raises(SlonikError, match=r"encoder with a decoder \(T5\)"):
        run_tagging(build_config(TaggerRecipe, {"data": data, "out": str(tmp_path / "x"), "system": system}))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BiLSTM that was hardly trained."""
    folder = tmp_path_factory.mktemp("teacher") / "teacher"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "navec_table", table)
        train_tagger("bilstm", documents(), out=folder, epochs=0.5, set=SMALL)
    return folder


class Stop(Exception):
    """Ends a run after its step."""


def _second_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], dict[str, Any]]) -> str:
    """What is said of the training when a call that was cut off after it is made again with one thing changed."""

    def nothing(job: Job, folder: Path, scratch: Path, cache: Path) -> dict[str, Any]:
        folder.mkdir()
        return {}

    def stop(*_: object) -> None:
        raise Stop

    monkeypatch.setattr(tagging_train, "train_one", nothing)
    monkeypatch.setattr(tagging_train, "_development_records", stop)
    lines: list[str] = []

    def call(changes: dict[str, Any]) -> None:
        options: dict[str, Any] = {
            "data": str(tmp_path / "data.jsonl"), "teacher": str(tmp_path / "teacher"),
            "unlabelled": [tmp_path / "texts.txt"], "out": tmp_path / "out", "epochs": 1, "announce": lines.append,
        }  # fmt: skip
        with pytest.raises(Stop):
            train_tagger(tmp_path / "tiny", **{**options, **changes})

    call({})
    lines.clear()
    call(change(tmp_path))
    return next(line for line in lines if line.startswith("training out"))


def _inputs(folder: Path, teacher: Path) -> None:
    written(folder)
    checkpoint(folder / "tiny", "bert")
    (folder / "texts.txt").write_text("Хакер снова напал на банк, пишет одна газета.\n" * 2, encoding="utf-8")
    (folder / "teacher").mkdir()
    for path in teacher.iterdir():
        (folder / "teacher" / path.name).write_bytes(path.read_bytes())


def _edit(name: str, old: str, new: str) -> Callable[[Path], dict[str, Any]]:
    def change(folder: Path) -> dict[str, Any]:
        text = (folder / name).read_text(encoding="utf-8")
        assert old in text
        (folder / name).write_text(text.replace(old, new), encoding="utf-8")
        return {}

    return change


def _weights(name: str) -> Callable[[Path], dict[str, Any]]:
    def change(folder: Path) -> dict[str, Any]:
        content = bytearray((folder / name).read_bytes())
        content[-1] ^= 1
        (folder / name).write_bytes(bytes(content))
        return {}

    return change


def _set(field: str, value: Any) -> Callable[[Path], dict[str, Any]]:
    return lambda folder: {"set": {field: value}}


CHANGES: dict[str, tuple[Callable[[Path], dict[str, Any]], str]] = {
    "a text": (_edit("data.jsonl", "задержан", "задержат"), "documents.текст3"),
    "a label": (_edit("data.jsonl", '"PER"', '"ORG"'), "documents.текст2"),
    "the mapping": (lambda folder: {"mapping": {"drop": ["LOC"]}}, "labels"),
    "the encoder's weights": (_weights("tiny/model.safetensors"), "start.model.safetensors"),
    "the encoder's config": (_edit("tiny/config.json", '"gelu"', '"relu"'), "start.config.json"),
    "the tokenizer": (_edit("tiny/tokenizer.json", "[MASK]", "[HIDE]"), "start.tokenizer.json"),
    "the teacher's weights": (_weights("teacher/model.safetensors"), "teacher.model.safetensors"),
    "the teacher's words": (_edit("teacher/words.txt", "казань", "рязань"), "teacher.words.txt"),
    "what the teacher has seen": (_edit("teacher/training_texts.json", "[", '["ab",'), "teacher.training_texts.json"),
    "unlabelled texts": (_edit("texts.txt", "газета", "редакция"), "unlabelled.texts.txt"),
    "no unlabelled texts": (lambda folder: {"unlabelled": ()}, "unlabelled"),
    "the seed": (lambda folder: {"seed": 1}, "seed"),
    "transitions": (lambda folder: {"crf": True}, "system.crf"),
    "the epochs": (lambda folder: {"epochs": 2}, "system.tuning.epochs"),
    "the learning rate": (lambda folder: {"learning_rate": 1e-3}, "system.tuning.learning_rate"),
    **{
        field: (_set(field, value), field)
        for field, value in {
            "stopping": 0.3, "overlap": 8, "system.names": False, "system.all_layers": False,
            "system.lesson.weight": 0.5, "system.lesson.temperature": 3.0, "system.lesson.max_texts": 1,
            "system.lesson.candidates": 9, "system.lesson.shortest": 10, "system.tuning.masked_pieces": 0.1,
        }.items()
    },
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_call_with_one_thing_changed_is_made_anew_and_says_what(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, teacher: Path, name: str
) -> None:
    _inputs(tmp_path, teacher)
    change, words = CHANGES[name]
    said = _second_call(tmp_path, monkeypatch, change)
    assert "made anew" in said and words in said, said


def test_what_decides_nothing_makes_nothing_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, teacher: Path
) -> None:
    _inputs(tmp_path, teacher)

    def change(folder: Path) -> dict[str, Any]:
        (folder / "tiny").rename(folder / "tiny2")
        (folder / "tiny2").rename(folder / "tiny")  # as new, and the same
        (folder / "teacher" / "README.md").write_text("words about it", encoding="utf-8")
        return {"set": {"system.tuning.save_every_minutes": 1}}

    assert _second_call(tmp_path, monkeypatch, change) == "training out: done before"


def test_a_run_that_fails_leaves_no_tagger_and_the_next_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []

    def full(*_: object) -> None:
        raise SlonikError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(tagging_train, "_development_records", full)
        with pytest.raises(SlonikError, match="disk is full"):
            train_tagger("bilstm", documents(), out=tmp_path / "out", epochs=0.5, set=SMALL, announce=lines.append)
    assert not (tmp_path / "out").exists() and "from which the same command goes on" in lines[-1]
    train_tagger("bilstm", documents(), out=tmp_path / "out", epochs=0.5, set=SMALL, announce=lines.append)
    assert "training out: done before" in lines and not (tmp_path / "out.steps").exists()
    assert load_tagger(tmp_path / "out").labels == LABELS.classes


def test_objects_in_memory_stand_for_paths(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = models.load(checkpoint(tmp_path / "tiny", "bert"))
    before = base.identity()
    options: dict[str, Any] = {"epochs": 0.5, "max_length": 32, "seed": 1}
    first = train_tagger(base, documents(), out=tmp_path / "first", **options)
    assert base.identity() == before and first.records and first.checkpoint is not None
    by_path = train_tagger(str(tmp_path / "tiny"), documents(), out=tmp_path / "by_path", **options)
    loaded = load_tagger(first.checkpoint)
    texts = [one.text for one in documents()]
    assert loaded.tag(texts) == load_tagger(str(by_path.checkpoint)).tag(texts)
    assert isinstance(loaded, NeuralTagger)
    more = ["Хакер из города Тверь снова напал на банк, пишет одна большая газета."]
    capsys.readouterr()
    second = train_tagger(
        "bilstm-crf", documents(), out=tmp_path / "second", teacher=loaded, unlabelled=more, epochs=0.5, set=SMALL
    )
    assert second.summary["unlabelled"] == 1
    step = Passport.read(tmp_path / "second").lineage[-1]
    assert set(step.inputs) == {"documents", "start", "teacher", "unlabelled"}
    assert step.inputs["teacher"] == loaded.identity()
    assert step.config["system"]["lesson"]["unlabelled"] == ["1 texts given in Python"]
    assert json.loads((tmp_path / "second" / "tagger.json").read_text(encoding="utf-8"))["sizes"]["crf"] is True
    assert capsys.readouterr() == ("", "")
