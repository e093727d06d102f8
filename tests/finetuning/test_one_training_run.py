"""Own data goes one way, whatever learns: the same rows, split, labels, metrics, baselines, differences and files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from slonik.core.errors import SlonikError
from slonik.core.records import Record
from slonik.finetuning.config import FinetuneRecipe
from slonik.finetuning.finetune import open_learner, run_finetune
from slonik.finetuning.language_model_learner import LanguageModelAnswerer
from slonik.finetuning.own import read_own
from slonik.finetuning.predictors import open_predictor
from slonik.finetuning.training import training_split
from slonik.models.generation import TextGenerator
from slonik.text.task_config import TaskConfig
from tests import tiny
from tests.finetuning.finetune_data import NAMES, PLACES, write_lines, writing_model

LEARNERS = ("bert", "t5", "gpt2")
TUNING = {"max_steps": 2, "max_length": 48, "precision": "fp32", "evaluations": 1}


def rows() -> list[dict[str, Any]]:
    """Sorted by label, as people's files often are; the label is JSON's true or false."""
    made = []
    for number in range(48):
        good = number < 24
        name, place = NAMES[number % 12], PLACES[number % 7]
        text = f"{name} в {place} {'точно' if good else 'никогда'}, {number}"
        made.append({"text": text, "label": good, "title": "долго " * 80 if number == 30 else f"{name} в {place}"})
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("one")
    tiny.checkpoint(root / "bert", "bert")
    for family in ("t5", "gpt2"):
        writing_model(root, family)
    write_lines(root / "train.jsonl", rows())
    return root


def recipe(folder: Path, family: str, out: str, own: dict[str, Any] | None = None, **fields: Any) -> FinetuneRecipe:
    given = {"model": str(folder / family), "out": str(folder / out), "seeds": 2, "tuning": TUNING}
    data = {"train": str(folder / "train.jsonl"), **(own or {})}
    return FinetuneRecipe.model_validate({**given, "own": data, **fields})


@pytest.fixture(scope="module")
def trained(folder: Path) -> dict[str, tuple[Record, ...]]:
    return {family: run_finetune(recipe(folder, family, f"{family}-out")).records for family in LEARNERS}


def saved(folder: Path, family: str, run: str) -> list[dict[str, Any]]:
    path = folder / f"{family}-out" / "predictions" / run / "custom.held_out.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_all_learners_are_measured_on_the_same_rows_with_the_same_labels_and_files(
    folder: Path, trained: dict[str, tuple[Record, ...]]
) -> None:
    files = {}
    for family in LEARNERS:
        for run in ("seed0", "seed1", "mean"):
            lines = saved(folder, family, run)
            assert all(set(line["probabilities"]) == {"true", "false"} for line in lines)
            files[family, run] = [line["idx"] for line in lines]
    first = files["bert", "seed0"]
    assert all(found == first for found in files.values())
    labels = {rows()[number]["label"] for number in first}
    assert labels == {True, False}


def test_all_learners_have_the_same_metrics_baselines_and_paired_differences(
    folder: Path, trained: dict[str, tuple[Record, ...]]
) -> None:
    names, baselines = {}, {}
    for family, records in trained.items():
        own = str(folder / family)
        names[family] = sorted((record.model.replace(own, "MODEL"), record.metric) for record in records)
        baselines[family] = [r.model_copy(update={"seconds": None}) for r in records if r.detail.get("baseline")]
        assert all(r.detail["paired"] for r in records if r.metric.endswith("_difference"))
        assert len({record.key() for record in records}) == len(records)
    assert names["bert"] == names["t5"] == names["gpt2"]
    assert baselines["bert"] == baselines["t5"] == baselines["gpt2"]
    found = set(names["bert"])
    assert {("MODEL", "macro_f1"), ("tfidf", "accuracy"), ("majority", "macro_f1")} <= found
    assert {("MODEL - tfidf", "macro_f1_difference"), ("MODEL mean of 2 seeds", "accuracy")} <= found


@pytest.mark.parametrize("family", LEARNERS)
def test_predict_answers_as_the_saved_predictions_of_its_seed(
    folder: Path, trained: dict[str, tuple[Record, ...]], family: str
) -> None:
    out = folder / f"{family}-out"
    seed = json.loads((out / "passport.json").read_text(encoding="utf-8"))["lineage"][-1]["seed"]
    predictor = open_predictor("custom", str(out))
    lines = saved(folder, family, f"seed{seed}")
    given = [predictor.read({"text": rows()[line["idx"]]["text"]}, "") for line in lines]
    for line, again in zip(lines, predictor.answer(given, probabilities=True), strict=True):
        assert again["probabilities"] == pytest.approx(line["probabilities"], abs=0.02)


@pytest.mark.parametrize("family", LEARNERS)
def test_few_items_of_a_sorted_file_have_every_label(folder: Path, family: str) -> None:
    few = recipe(folder, family, "few", max_items=10)
    learner = open_learner(few)
    assert few.own is not None
    data = read_own(few, few.own, learner, few.own.train, few.own.valid).data()
    split = training_split(data, data.folds[0], few, 0)
    assert len(split.fit) == 10 and {item.label for item in split.fit} == {0, 1}


def test_shots_of_own_data_stand_before_every_question(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    answer = LanguageModelAnswerer.answer

    def spied(self: Any, items: Any, **options: Any) -> Any:
        asked.extend(item.asked.prompt for item in items)
        return answer(self, items, **options)

    monkeypatch.setattr(LanguageModelAnswerer, "answer", spied)
    found = run_finetune(recipe(folder, "gpt2", "shots", train=False, shots=2))
    assert found.models == {} and found.checkpoint is None
    assert asked and all(prompt.count("\n\n") == 2 for prompt in asked)
    assert all(prompt.split("\n\n")[0].rsplit(" ", 1)[1] in ("true", "false") for prompt in asked)
    assert {"macro_f1", "accuracy_difference"} <= {record.metric for record in found.records}


def test_words_are_as_long_as_those_of_the_training_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens: list[int] = []
    write = TextGenerator.answers

    def spied(self: Any, prompts: Any, *, max_tokens: int, **options: Any) -> Any:
        tokens.append(max_tokens)
        return write(self, prompts, max_tokens=min(max_tokens, 4), **options)

    monkeypatch.setattr(TextGenerator, "answers", spied)
    own = {"kind": "text2text", "label_column": "title"}
    found = run_finetune(recipe(folder, "t5", "words", own))
    longest = TaskConfig.read(folder / "words").details["answer_tokens"]
    assert longest > 64 and set(tokens) == {longest}
    names = {(record.model, record.metric) for record in found.records}
    assert {("majority", "rouge_l"), ("tfidf", "f1")} <= names
    assert (f"{folder / 't5'} - tfidf", "rouge_l_difference") in names
    nearest = next(record for record in found.records if (record.model, record.metric) == ("tfidf", "rouge_l"))
    assert nearest.value is not None and nearest.value > 0.5  # a title is made of words of its text
    tokens.clear()
    run_finetune(recipe(folder, "t5", "short", own, answer_tokens=7))
    predictor = open_predictor("custom", str(folder / "short"))
    predictor.answer([predictor.read({"text": "а"}, "")], probabilities=False)
    assert set(tokens) == {7}


def test_what_a_learner_cannot_do_is_said_before_any_work(folder: Path) -> None:
    for family, own, fields, sentence in (
        ("t5", {"kind": "regression"}, {}, "take text2text, classification, pair, not regression"),
        ("t5", {}, {"multitask": True}, "take no --teacher or multitask"),
        ("bert", {}, {"train": False}, "is an encoder, whose head must be trained"),
    ):
        with pytest.raises(SlonikError, match=sentence):
            run_finetune(recipe(folder, family, "no", own, **fields))
