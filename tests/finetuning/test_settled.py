"""What is chosen beside the weights: low-rank matrices, class weights, what stops training, temperature, thresholds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from slonik import models
from slonik.core.errors import SlonikError
from slonik.evaluation.russian_superglue.readers import parse_row
from slonik.evaluation.russian_superglue.tasks import TASKS
from slonik.evaluation.statistics import value_of
from slonik.finetuning.calibration import CalibrationError, chosen_temperature, chosen_thresholds
from slonik.finetuning.config import FinetuneRecipe, Tuning
from slonik.finetuning.encoder_learner import EncoderLearner, class_weights
from slonik.finetuning.finetune import run_finetune
from slonik.finetuning.items import Item, with_pairs
from slonik.finetuning.learner import stopping_metrics
from slonik.finetuning.objective import Supervised
from slonik.finetuning.predictors import open_predictor
from slonik.finetuning.tasks import items_of
from slonik.finetuning.train import prepared
from slonik.models.lora import LowRank, LowRankSize, linear_layers
from slonik.models.task_model import load_task_model, new_task_model
from slonik.text.answers import TEMPERATURE, THRESHOLDS, heated, probabilities, softmax, temperature_of
from slonik.text.pairs import TaskInput
from slonik.text.task_config import TaskConfig
from tests import tiny
from tests.finetuning.finetune_data import NAMES, PLACES, write_lines, writing_model
from tests.finetuning.test_items import ROWS

TEXT = TaskInput((("а",),))
FAST = {"batch_texts": 8, "learning_rate": 3e-3, "layer_decay": 1.0, "max_length": 32, "precision": "fp32", "epochs": 3}


def test_the_calibration_error_is_that_of_the_formula_and_resamples() -> None:
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.3, 1.0, 200)
    hits = rng.uniform(size=200) < sure**2
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (sure > low) & (sure <= low + 1 / 15)
        if inside.any():
            expected += abs(hits[inside].mean() - sure[inside].mean()) * inside.mean()
    assert value_of(CalibrationError(sure, hits)) == pytest.approx(expected)
    counts = np.bincount(rng.integers(0, 200, 200), minlength=200)
    again = CalibrationError(np.repeat(sure, counts), np.repeat(hits, counts))
    assert CalibrationError(sure, hits).resampled(counts[None].astype(float))[0] == pytest.approx(value_of(again))


@pytest.mark.parametrize("target", ["single", "multi", "choice"])
def test_a_temperature_that_was_put_in_is_found_again_and_probabilities_follow_it(target: Any) -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (400, 3))
    chances = probabilities(logits, target)
    if target == "multi":
        labels: Any = (rng.uniform(size=chances.shape) < chances).astype(float)
    else:
        drawn = np.array([rng.choice(3, p=row.astype(float) / row.astype(float).sum()) for row in chances])
        labels = np.eye(3)[drawn] if target == "choice" else drawn
    sharp = probabilities(logits * 3, target)  # three times as sure as it is right
    found = chosen_temperature(list(sharp), list(labels), target)
    assert 2.5 < found < 3.6
    for row, other in zip(sharp[:20], logits[:20], strict=True):
        np.testing.assert_allclose(heated(row, target, 3.0), probabilities(other, target), atol=1e-4)
    assert chosen_temperature([np.array([1.0])], [0.0], "number") == 1.0
    with pytest.raises(SlonikError, match=r"temperature in task\.json"):
        temperature_of(TaskConfig(kind="sequence", labels=("а", "б"), details={TEMPERATURE: 0}))


def test_thresholds_have_the_greatest_f1_of_each_label() -> None:
    rng = np.random.default_rng(2)
    right = rng.uniform(size=(60, 3)) < [0.3, 0.1, 0.0]
    values = np.clip(right * 0.25 + rng.uniform(0, 0.4, (60, 3)), 0, 1)
    found = chosen_thresholds(list(values), list(right.astype(float)), ["а", "б", "в"])

    def f1(limit: float, place: int) -> float:
        given = values[:, place] > limit
        return 2 * (given & right[:, place]).sum() / (given.sum() + right[:, place].sum())

    for place, name in enumerate("аб"):
        assert f1(found[name], place) >= max(f1(limit, place) for limit in np.linspace(0, 1, 500)) - 1e-9
        assert f1(found[name], place) > f1(0.5, place)
    assert found["в"] == 0.5  # no item has it


def test_balanced_weights_are_those_of_scikit_learn_and_the_loss_is_torchs() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.array([0] * 12 + [1] * 3 + [2] * 1)
    items = [Item(n, TEXT, int(label), str(n)) for n, label in enumerate(labels)]
    config = TaskConfig(kind="sequence", labels=("а", "б", "в"))
    weights = class_weights(items, config)
    np.testing.assert_allclose(weights, compute_class_weight("balanced", classes=np.arange(3), y=labels))
    outputs, batch = torch.randn(6, 3), {"label": torch.tensor([0, 1, 2, 0, 0, 1])}
    loss = Supervised("single", weights=weights).of_outputs(outputs, batch).total
    expected = F.cross_entropy(outputs, batch["label"], torch.tensor(weights, dtype=torch.float32))
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    several = [Item(n, TEXT, [float(n < 4), float(n == 0), 0.0], str(n)) for n in range(16)]
    multi = config.model_copy(update={"target": "multi"})
    assert class_weights(several, multi) == [3.0, 15.0, 1.0]
    with pytest.raises(SlonikError, match="class_weights are for tasks with labels"):
        class_weights([], config.model_copy(update={"target": "number", "labels": ()}))


def test_what_stops_training_is_what_was_asked_for() -> None:
    assert stopping_metrics(0.8, 0.5, 10)["choice"] == -0.5
    assert stopping_metrics(0.8, 0.5, 10, "macro_f1")["choice"] == pytest.approx(0.8, abs=1e-5)
    assert stopping_metrics(0.8, 0.5, 1000, "loss")["choice"] == -0.5
    assert stopping_metrics(float("nan"), 0.5, 1000, "spearman")["choice"] == pytest.approx(0.0, abs=1e-5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("settled")
    tiny.checkpoint(root / "bert", "bert")
    for family in ("t5", "gpt2"):
        writing_model(root, family)
    rows = []
    for number in range(60):
        good = number % 3 == 0
        text = f"{NAMES[number % 12]} в {PLACES[number % 7]} {'точно' if good else 'никогда'}"
        rows.append({"text": text, "label": good, "tags": ["а", "б"] if good else ["б"]})
    write_lines(root / "train.jsonl", rows)
    return root


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_low_rank_matrices_alone_are_trained_and_end_in_the_weights(folder: Path, family: str) -> None:
    if family == "bert":
        encoder = models.load(str(folder / "bert"))
        model: Any = new_task_model(encoder, TaskConfig(kind="sequence", labels=("а", "б")), seed=0)
        body = model.transformer
    else:
        from slonik.models.language_model import load_language_model

        body = load_language_model(str(folder / family)).model
        model = body
    before = {name: tensor.clone() for name, tensor in body.state_dict().items()}
    names = linear_layers(body)
    assert len(names) >= 4 and all(any(part.isdigit() for part in name.split(".")) for name in names)
    matrices = LowRank(body, LowRankSize(rank=2), names)
    trained = [name for name, parameter in body.named_parameters() if parameter.requires_grad]
    assert (
        trained
        and all("lora_" in name for name in trained)
        and matrices.trained < sum(t.numel() for t in before.values())
    )
    with torch.no_grad():
        for name, parameter in body.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    ids = torch.randint(5, 30, (2, 7))
    inputs = {"input_ids": ids} | ({"decoder_input_ids": ids} if family == "t5" else {})
    body.eval()
    with torch.no_grad():
        beside = body(**inputs)[0]
        matrices.merge()
        merged = body(**inputs)[0]
    torch.testing.assert_close(beside, merged, atol=2e-4, rtol=1e-3)
    after = body.state_dict()
    assert set(after) == set(before)
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed == {f"{name}.weight" for name in names}
    with pytest.raises(SlonikError, match="no linear layer of x is called 'нет'"):
        linear_layers(body, ["нет"], name="x")


def test_a_head_is_trained_beside_them(folder: Path) -> None:
    model = new_task_model(models.load(str(folder / "bert")), TaskConfig(kind="sequence", labels=("а", "б")), seed=0)
    with prepared(model, Tuning(lora=2)):
        trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert any(name.startswith("head.") for name in trained)
        assert all(name.startswith("head.") or "lora_" in name for name in trained)
        assert set(model.state_dict()) == trained  # what does not change is not saved at every evaluation
    assert all(parameter.requires_grad for parameter in model.transformer.parameters())
    for wrong in ({"lora": 2, "freeze": "encoder"}, {"lora_alpha": 4.0}):
        with pytest.raises(ValueError, match="lora"):
            Tuning.model_validate(wrong)


def run(folder: Path, out: str, model: str = "bert", tuning: Any = (), **changes: Any) -> Any:
    own = {"train": str(folder / "train.jsonl"), **changes.pop("own", {})}
    given = {"model": str(folder / model), "out": str(folder / out), "own": own, "seeds": 2, **changes}
    return run_finetune(FinetuneRecipe.model_validate({**given, "tuning": {**FAST, **dict(tuning)}}))


def test_a_calibrated_model_says_its_error_and_answers_so_wherever_it_is_opened(folder: Path) -> None:
    tuning = {"lora": 2, "class_weights": "balanced"}
    found = run(folder, "calibrated", tuning=tuning, calibrate=True, stop_by="macro_f1")
    figures = {one.metric: one for one in found.records if one.model.endswith("bert")}
    assert {"ece", "ece_before"} < set(figures) and all(0 <= figures[m].value <= 1 for m in ("ece", "ece_before"))
    task = json.loads((folder / "calibrated" / "task.json").read_text(encoding="utf-8"))
    heat = task["details"][TEMPERATURE]
    assert heat > 0 and heat != 1.0
    rows = [{"text": "Анна в дом точно"}, {"text": "Глеб в лес никогда"}]
    predictor = open_predictor("custom", str(folder / "calibrated"))
    lines = predictor.answer([predictor.read(row, "1") for row in rows], probabilities=True)
    loaded = load_task_model(folder / "calibrated")
    assert [dict(one.row)["probabilities"] for one in loaded.predict([row["text"] for row in rows])] == [
        line["probabilities"] for line in lines
    ]
    raw = loaded.config.model_copy(update={"details": {}})
    plain = [dict(one.row)["probabilities"] for one in _with(loaded, raw).predict([row["text"] for row in rows])]
    for own, other in zip(lines, plain, strict=True):
        expected = softmax(np.log(list(other.values())) / heat)
        np.testing.assert_allclose(list(own["probabilities"].values()), expected, atol=1e-4)


def _with(model: Any, config: TaskConfig) -> Any:
    model.config = config
    return model


def test_thresholds_are_chosen_kept_and_used(folder: Path) -> None:
    own = {"kind": "multilabel", "label_column": "tags"}
    found = run(folder, "several", own=own, thresholds="chosen", tuning={"class_weights": "balanced"})
    task = json.loads((folder / "several" / "task.json").read_text(encoding="utf-8"))
    limits = task["details"][THRESHOLDS]
    assert set(limits) == {"а", "б"} and all(0 <= value <= 1 for value in limits.values())
    assert {one.metric for one in found.records} >= {"micro_f1", "macro_f1", "exact"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"stop_by": "acuracy"}, "did you mean 'accuracy'"),
        ({"thresholds": "chosen"}, "tasks with several labels"),
        ({"own": {"kind": "text2text"}, "model": "t5", "calibrate": True}, "cannot be calibrated"),
        ({"model": "gpt2", "tuning": {"class_weights": "balanced"}}, "answers in words"),
        ({"model": "gpt2", "tuning": {"pairs": "separate"}}, "answers in words"),
    ],
)
def test_settings_that_mean_nothing_are_refused_before_any_work(folder: Path, changes: Any, sentence: str) -> None:
    with pytest.raises(SlonikError, match=sentence):
        run(folder, "refused", **changes)
    assert not (folder / "refused").exists()


@pytest.mark.parametrize("model", ["gpt2", "t5"])
def test_models_that_answer_in_words_learn_by_low_rank_matrices_too(folder: Path, model: str) -> None:
    found = run(folder, f"lora-{model}", model=model, seeds=1, tuning={"lora": 2, "max_steps": 2, "optimizer": "adamw"})
    assert found.checkpoint is not None and open_predictor("custom", str(found.checkpoint))


def test_pairs_in_a_grid_are_two_ways_of_reading_and_the_chosen_one_is_saved(folder: Path, tmp_path: Path) -> None:
    rows = [
        {"text": f"{NAMES[n % 12]} {n}", "other": "точно" if n % 2 else "никогда", "label": str(n % 2)}
        for n in range(40)
    ]
    data = write_lines(tmp_path / "pairs.jsonl", rows)
    seen: list[tuple[str, int]] = []
    learned = EncoderLearner.train

    def spied(self: Any, config: TaskConfig, split: Any, *rest: Any) -> Any:
        seen.append((config.pairs, len(split.fit[0].input.rows)))
        return learned(self, config, split, *rest)

    own = {"train": str(data), "kind": "pair", "text_columns": ["text", "other"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EncoderLearner, "train", spied)
        given = {"model": str(folder / "bert"), "own": own, "seeds": 1, "grid": {"pairs": ["joint", "separate"]}}
        recipe = {**given, "out": str(tmp_path / "out"), "tuning": {**FAST, "epochs": 1}}
        run_finetune(FinetuneRecipe.model_validate(recipe))
    assert ("joint", 1) in seen and ("separate", 2) in seen
    task = json.loads((tmp_path / "out" / "task.json").read_text(encoding="utf-8"))
    assert task["pairs"] in ("joint", "separate")
    with pytest.raises(SlonikError, match="are one text"):
        run(folder, "one", tuning={"pairs": "separate"})
    for example in ("muserc", "russe", "terra"):
        (one, *_) = parse_row(TASKS[example], dict(ROWS[example]), "here")
        apart, joint = (items_of(example, [one], pairs)[0] for pairs in ("separate", "joint"))
        assert (len(apart.input.rows), len(joint.input.rows)) == (2, 1)
        assert with_pairs(apart, "joint").input == joint.input and with_pairs(joint, "separate").input == apart.input
