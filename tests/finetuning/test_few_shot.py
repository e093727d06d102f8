"""Few-shot fitting is that of its definition: pairs, the loss over cosines, a logistic regression as the head."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from slonik import models
from slonik.core.errors import SlonikError
from slonik.finetuning.config import FinetuneRecipe
from slonik.finetuning.few_shot import CosineLoss, FewShotLearner, _vectors, drawn_pairs, fit_head
from slonik.finetuning.finetune import finetune, open_learner
from slonik.finetuning.items import Item
from slonik.finetuning.outputs import answer
from slonik.finetuning.predictors import open_predictor
from slonik.models.task_model import new_task_model
from slonik.text.pairs import TaskInput
from slonik.text.task_config import TaskConfig
from tests import tiny
from tests.finetuning.finetune_data import NAMES, PLACES, write_lines, writing_model


def test_every_text_has_as_many_partners_of_its_label_as_of_others() -> None:
    labels = [0, 0, 0, 1, 1, 2]
    pairs = drawn_pairs(labels, seed=1, partners=20)
    assert len(pairs) == 6 * 40 and pairs == drawn_pairs(labels, 1, 20) != drawn_pairs(labels, 2, 20)
    for first, second, alike in pairs:
        assert (labels[first] == labels[second]) == bool(alike)
        assert first != second or labels.count(labels[first]) == 1
    counts = Counter((first, alike) for first, _, alike in pairs)
    assert set(counts.values()) == {20}
    with pytest.raises(SlonikError, match="two labels"):
        drawn_pairs([1, 1, 1], 0)


def test_the_loss_is_the_squared_error_of_cosines() -> None:
    torch.manual_seed(0)
    vectors, wanted = torch.randn(5, 2, 7), torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0])
    expected = np.mean([
        (float(a @ b / a.norm() / b.norm()) - float(y)) ** 2 for (a, b), y in zip(vectors, wanted, strict=True)
    ])  # fmt: skip
    assert float(CosineLoss.of_vectors(vectors, wanted)) == pytest.approx(expected, rel=1e-5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("few")
    tiny.checkpoint(root / "bert", "bert")
    writing_model(root, "gpt2")
    words = ("точно", "никогда", "иногда")
    rows = [{"text": f"{NAMES[n % 12]} в {PLACES[n % 7]} {words[n % 3]}", "label": words[n % 3]} for n in range(60)]
    write_lines(root / "train.jsonl", rows[:16])
    write_lines(root / "valid.jsonl", rows[16:])
    return root


@pytest.mark.parametrize("labels", [2, 3])
def test_the_head_is_scikit_learns_logistic_regression_of_the_vectors(folder: Path, labels: int) -> None:
    config = TaskConfig(kind="sequence", labels=("а", "б", "в", "г")[: labels + 1], head={"dropout": 0.0})
    model = new_task_model(models.load(str(folder / "bert")), config, seed=0).eval()
    texts = [json.loads(line)["text"] for line in (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    items = [Item(n, TaskInput(((text,),)), n % labels, str(n)) for n, text in enumerate(texts)]
    fit_head(model, items)
    vectors = _vectors(model, items)
    expected = LogisticRegression(max_iter=5000, tol=1e-8).fit(vectors, [item.label for item in items])
    found = np.stack(answer(model, items, autocast=False))
    np.testing.assert_allclose(found[:, :labels], expected.predict_proba(vectors), atol=5e-3)
    assert (found[:, labels] < 1e-6).all()  # a label that no text has


def test_eight_rows_and_more_are_learned_from_whole(folder: Path, tmp_path: Path) -> None:
    learned: list[int] = []
    train = FewShotLearner.train

    def spied(self: Any, config: Any, split: Any, *rest: Any) -> Any:
        learned.append(len(split.fit))
        return train(self, config, split, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FewShotLearner, "train", spied)
        found = finetune(
            folder / "bert", folder / "train.jsonl", valid=folder / "valid.jsonl", out=tmp_path / "out", few_shot=True,
            seeds=1, learning_rate=1e-3, max_length=32,
        )  # fmt: skip
    assert learned == [16]
    figures = {one.metric: one.value for one in found.records if one.model.endswith("bert")}
    assert figures["accuracy"] >= 0.9  # type: ignore[operator]
    predictor = open_predictor("custom", str(found.checkpoint))
    rows = [json.loads(line) for line in (folder / "valid.jsonl").read_text(encoding="utf-8").splitlines()]
    lines = predictor.answer([predictor.read(row, "1") for row in rows], probabilities=False)
    saved = (tmp_path / "out" / "predictions" / "seed0" / "custom.valid.jsonl").read_text(encoding="utf-8")
    assert [line["label"] for line in lines] == [json.loads(line)["label"] for line in saved.splitlines()]


def test_what_few_shot_fitting_cannot_do_is_refused(folder: Path, tmp_path: Path) -> None:
    own = {"train": str(folder / "train.jsonl")}
    given = {"model": str(folder / "bert"), "out": str(tmp_path / "out"), "own": own, "few_shot": True}
    for change in ({"calibrate": True}, {"own": {**own, "kind": "regression"}}, {"stop_by": "loss"}):
        with pytest.raises(ValueError, match="few_shot"):
            FinetuneRecipe.model_validate({**given, **change})
    with pytest.raises(SlonikError, match="answers in words"):
        open_learner(FinetuneRecipe.model_validate({**given, "model": str(folder / "gpt2")}))
    learner = open_learner(FinetuneRecipe.model_validate(given))
    with pytest.raises(SlonikError, match="logistic regression"):
        learner.settings({}, {"class_weights": "balanced"})
