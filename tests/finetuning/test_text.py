"""Models that answer in words: likelihoods against the plain formula, `</s>` by hand, training, zero and few shot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from slonik.core.errors import SlonikError
from slonik.finetuning.config import FinetuneRecipe
from slonik.finetuning.finetune import run_finetune
from slonik.finetuning.metrics import rouge_l
from slonik.finetuning.predictors import open_predictor
from slonik.models.generation import NOT_SCORED, TextGenerator, load_generator
from tests import tiny
from tests.finetuning.finetune_data import NAMES, PLACES, rwsd, terra, write_lines, writing_model

FAMILIES = ("t5", "gpt2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("text")
    for family in FAMILIES:
        writing_model(root, family)
    rows = []
    for n in range(40):
        text = f"{NAMES[n % 12]} идёт в {PLACES[n % 5]} {'точно' if n % 2 else 'никогда'}"
        rows.append({"text": text, "label": "да" if n % 2 else "нет"})
    write_lines(root / "train.jsonl", rows)
    rwsd(root / "data")
    return root


def plain_likelihood(model: TextGenerator, prompt: str, answer: str) -> float:
    """One example at a time, no padding."""
    asked, answered = model.prompt_ids(prompt, 40), model.answer_ids(answer)
    with torch.no_grad():
        if model.two_stacks:
            start = [model.model.config.decoder_start_token_id, *answered[:-1]]
            logits = model.model(input_ids=torch.tensor([asked]), decoder_input_ids=torch.tensor([start])).logits[0]
        else:
            logits = model.model(input_ids=torch.tensor([asked + answered])).logits[0, len(asked) - 1 : -1]
    chances = torch.log_softmax(logits, -1)
    return float(sum(chances[place, token] for place, token in enumerate(answered)))


@pytest.mark.parametrize("family", FAMILIES)
def test_likelihoods_of_a_batch_are_those_of_each_answer_alone(folder: Path, family: str) -> None:
    model = load_generator(folder / family, max_length=40)
    prompts = ["Кошка спит на подоконнике.", "Снег"]
    answers = [["да", "нет, никогда"], ["дом", "да", "порт"]]
    found = model.likelihoods(prompts, answers, batch_texts=3)
    for prompt, options, scores in zip(prompts, answers, found, strict=True):
        expected = [plain_likelihood(model, prompt, option) for option in options]
        np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)
    mean = model.likelihoods(prompts, answers, per_token=True)
    assert mean[0][1] == pytest.approx(found[0][1] / len(model.answer_ids("нет, никогда")), rel=1e-4)


def test_the_end_is_put_by_hand_once_and_the_question_survives_the_cut(folder: Path) -> None:
    model = load_generator(folder / "t5", max_length=16, prefix="Снег ")
    for prompt in ("Кошка.", "Кошка спит на подоконнике. " * 8 + "Где она?"):
        ids = model.prompt_ids(prompt, 16)
        assert ids[-1] == model.eos_id and ids.count(model.eos_id) == 1 and len(ids) <= 16
        assert model.tokenizer.decode(ids).startswith("Снег")
    assert model.tokenizer.decode(ids).rstrip().endswith("она?")
    fields = load_generator(folder / "gpt2", max_length=64).fields("Где кошка?", "дома")
    scored = fields["labels"] != NOT_SCORED
    np.testing.assert_array_equal(fields["labels"][scored], fields["input_ids"][scored])
    assert 0 < scored.sum() < len(scored) and scored[-1]


@pytest.mark.parametrize("family", FAMILIES)
def test_labels_and_free_words_are_learned(folder: Path, family: str) -> None:
    tuning = {"epochs": 12, "batch_texts": 8, "max_length": 32, "patience": None, "evaluations": 1, "precision": "fp32"}
    tuning["learning_rate"] = 1e-2 if family == "t5" else 3e-3
    given = {"model": str(folder / family), "seeds": 1, "tuning": tuning}
    own = {"train": str(folder / "train.jsonl")}
    for kind in ("classification", "text2text"):
        out = folder / f"{family}-{kind}"
        found = run_finetune(FinetuneRecipe.model_validate({**given, "out": str(out), "own": {**own, "kind": kind}}))
        figures = {record.metric: record.value for record in found.records if record.model == str(folder / family)}
        assert figures["accuracy" if kind == "classification" else "em"] >= 0.75  # type: ignore[operator]
        predictor = open_predictor("custom", str(out))
        row = {"text": f"Анна идёт в {PLACES[0]} точно", "idx": 7}
        assert predictor.answer([predictor.read(row, "")], probabilities=False) == [{"idx": 7, "label": "да"}]


@pytest.mark.parametrize(("family", "shots"), [("t5", 0), ("gpt2", 2)])
def test_a_model_answers_a_task_as_it_is(folder: Path, family: str, shots: int) -> None:
    out = folder / f"{family}-as-is"
    recipe = FinetuneRecipe.model_validate(
        {"model": str(folder / family), "out": str(out), "tasks": ("rwsd",), "data_dir": str(folder / "data"),
         "train": False, "shots": shots, "folds": 3, "tuning": {"max_length": 48}}
    )  # fmt: skip
    found = run_finetune(recipe)
    assert found.models == {} and any(record.n == 30 for record in found.records)
    assert (out / "predictions" / "seed0" / "rwsd.val_crowd.jsonl").is_file()
    predictor = open_predictor("rwsd", str(folder / family))
    row = {
        "text": "Анна спит.",
        "idx": 1,
        "target": {"span1_text": "Анна", "span1_index": 0, "span2_text": "спит", "span2_index": 1},
    }
    assert predictor.answer([predictor.read(row, "")], probabilities=False)[0]["label"] in (True, False)


def test_lidirus_rides_on_terra_and_missing_tasks_are_left_out(folder: Path, tmp_path: Path) -> None:
    data = terra(tmp_path / "data")
    rows = [
        {"sentence1": f"{n}. Анна идёт в сад.", "sentence2": "Анна идёт в сад точно.", "label": "entailment", "idx": n}
        for n in range(6)
    ]
    write_lines(data / "russian_superglue" / "LiDiRus" / "val_crowd.jsonl", rows)
    settings = {
        "model": str(folder / "t5"), "out": str(tmp_path / "out"), "tasks": ("lidirus", "muserc"), "seeds": 2,
        "data_dir": str(data), "skip_missing": True, "tuning": {"max_steps": 1, "max_length": 48},
    }  # fmt: skip
    said: list[str] = []
    found = run_finetune(FinetuneRecipe.model_validate(settings), said.append)
    assert found.models == {"terra": tmp_path / "out"} and "no data: muserc" in said[0]
    assert {record.task for record in found.records} == {"terra", "lidirus"}
    assert len([line for line in said if line.endswith("...")]) == 2  # a training per seed: none of LiDiRus' own
    kept = {path.relative_to(tmp_path / "out" / "predictions").as_posix() for path in tmp_path.rglob("*.*.jsonl")}
    files = ("terra.train_dev.jsonl", "terra.test.jsonl", "lidirus.val_crowd.jsonl")
    assert kept == {f"{run}/{name}" for run in ("seed0", "seed1", "mean") for name in files}


def test_an_encoder_is_not_asked_as_it_is(tmp_path: Path) -> None:
    model = tiny.checkpoint(tmp_path / "bert", "bert")
    given = {"model": str(model), "out": str(tmp_path / "out"), "tasks": ("rwsd",), "data_dir": str(tmp_path)}
    for change in ({"train": False}, {"shots": 2}, {"denoiser": "<LM>"}):
        with pytest.raises(SlonikError, match="is an encoder, whose head must be trained"):
            run_finetune(FinetuneRecipe.model_validate({**given, **change}))


def test_rouge_l_counts_the_longest_common_subsequence() -> None:
    assert rouge_l("а б в г", "а в г д") == pytest.approx(2 * 3 / 8)
    assert rouge_l("", "") == 1.0 and rouge_l("а", "") == 0.0
