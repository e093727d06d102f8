"""Ensembles of own tasks: from the files that fine-tuning writes, with the right labels in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slonik.core.errors import SlonikError
from slonik.finetuning.ensembles.own import OwnEnsembled
from slonik.finetuning.ensembles.runs import ensemble
from slonik.finetuning.items import Item
from slonik.finetuning.own import OwnTask
from slonik.text.pairs import TaskInput
from slonik.text.task_config import TaskConfig
from tests.finetuning.finetune_data import write_lines

TEXT = TaskInput((("а",),))
RNG = np.random.default_rng(0)


def saved(folder: Path, config: TaskConfig, labels: list[Any], answers: Any, name: str = "отзывы") -> Path:
    """Predictions as fine-tuning writes them."""
    items = [Item(n, TEXT, label, str(n)) for n, label in enumerate(labels)]
    task = OwnTask(config, [], items, "held_out")
    lines = task.lines({item.key: values for item, values in zip(items, answers, strict=True)})
    write_lines(folder / f"{name}.held_out.jsonl", lines)
    return folder


def test_three_noisy_runs_are_better_together_and_their_mean_is_the_mean(tmp_path: Path) -> None:
    config = TaskConfig(kind="sequence", task="отзывы", labels=("да", "нет", "так"))
    labels = RNG.integers(0, 3, 300).tolist()
    runs = []
    for number in range(3):
        logits = np.eye(3)[labels] * 1.2 + RNG.normal(0, 1, (300, 3))
        runs.append(np.exp(logits) / np.exp(logits).sum(1, keepdims=True))
        saved(tmp_path / "out" / "predictions" / f"seed{number}", config, labels, runs[-1])
    saved(tmp_path / "out" / "predictions" / "mean", config, labels, np.mean(runs, 0))
    found = ensemble([tmp_path / "out"], tmp_path / "whole", method="mean")
    assert isinstance(found, OwnEnsembled)
    one = found.tasks["отзывы held_out"]
    assert len(one.members) == 3  # the mean beside them is one of the same runs
    values = {record.model: record.value for record in found.records if record.metric == "accuracy"}
    expected = float((np.mean(runs, 0).argmax(1) == labels).mean())
    assert values["ensemble: mean"] == pytest.approx(expected)
    assert values["ensemble: mean"] > max(values[name] for name in one.members)  # type: ignore[operator,type-var]
    assert "ensemble: stacking" in values and any(record.metric == "accuracy_difference" for record in found.records)
    lines = [
        json.loads(line)
        for line in (tmp_path / "whole" / "отзывы.held_out.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [line["label"] for line in lines] == [config.labels[place] for place in np.mean(runs, 0).argmax(1)]


def test_several_labels_and_numbers_are_put_together_by_their_mean(tmp_path: Path) -> None:
    several = TaskConfig(kind="sequence", task="темы", target="multi", labels=("а", "б"))
    wanted = [[float(n % 2), float(n % 3 == 0)] for n in range(30)]
    numbers = TaskConfig(kind="sequence", task="оценки", target="number", scale=(3.0, 2.0))
    marks = RNG.normal(size=30).tolist()
    for number in range(2):
        folder = tmp_path / f"run{number}"
        noise = RNG.uniform(0, 0.3, (30, 2))
        saved(folder, several, wanted, np.abs(np.array(wanted) - noise), "темы")
        saved(folder, numbers, marks, np.array(marks)[:, None] + RNG.normal(0, 0.5, (30, 1)), "оценки")
    found = ensemble([tmp_path / "run0", tmp_path / "run1"])
    values = {(one.task, one.model, one.metric): one.value for one in found.records}
    assert values["темы", "ensemble: mean", "micro_f1"] == 1.0
    single = values["оценки", str(tmp_path / "run0"), "mae"]
    assert values["оценки", "ensemble: mean", "mae"] < single  # type: ignore[operator]
    with pytest.raises(SlonikError, match="by the mean alone"):
        ensemble([tmp_path / "run0", tmp_path / "run1"], method="stacking")


def test_runs_of_other_rows_other_data_or_alone_are_refused(tmp_path: Path) -> None:
    config = TaskConfig(kind="sequence", task="т", labels=("да", "нет"))
    chances = np.full((8, 2), 0.5)
    first = saved(tmp_path / "a", config, [0, 1] * 4, chances)
    for labels, sentence in (([1, 0] * 4, "other data"), ([0, 1] * 3, "different rows")):
        other = saved(tmp_path / f"b{len(labels)}", config, labels, chances[: len(labels)])
        with pytest.raises(SlonikError, match=sentence):
            ensemble([first, other])
    with pytest.raises(SlonikError, match="two of the runs"):
        ensemble([first])
    words = TaskConfig(kind="text2text", task="т", target="text")
    texts = [saved(tmp_path / name, words, ["кот"] * 4, ["кот"] * 4) for name in ("c", "d")]
    with pytest.raises(SlonikError, match="no probabilities"):
        ensemble(texts)
