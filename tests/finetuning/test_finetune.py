"""Fine-tuning end to end on tiny models: learns, resumes undisturbed, keeps what it answered, refuses what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.evaluation.russian_superglue.parts import find_part
from slonik.evaluation.russian_superglue.predictions import read_predictions
from slonik.evaluation.russian_superglue.systems import find_system
from slonik.finetuning import training
from slonik.finetuning.config import FinetuneRecipe
from slonik.finetuning.finetune import Finetuned, run_finetune
from slonik.finetuning.predictors import answer_part, open_predictor
from slonik.models.task_model import load_task_model
from tests import tiny
from tests.finetuning import finetune_data

FAST = {
    "batch_texts": 8,
    "learning_rate": 3e-3,
    "layer_decay": 1.0,
    "max_length": 48,
    "precision": "fp32",
    "evaluations": 1,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("finetune")
    tiny.checkpoint(root / "model", "bert")
    finetune_data.terra(root / "data")
    finetune_data.rwsd(root / "data")
    return root


def recipe(folder: Path, out: str, **fields: Any) -> FinetuneRecipe:
    values: dict[str, Any] = {
        "model": str(folder / "model"),
        "out": str(folder / out),
        "data_dir": str(folder / "data"),
    }
    values |= {"tasks": ("terra",), "seeds": 2, "tuning": {**FAST, "epochs": 6, "patience": None}}
    return FinetuneRecipe.model_validate({**values, **fields})


@pytest.fixture(scope="module")
def trained(folder: Path) -> Finetuned:
    return run_finetune(recipe(folder, "terra"))


def test_a_learnable_task_is_learned_and_stands_beside_its_baselines(folder: Path, trained: Finetuned) -> None:
    figures = {record.model: record for record in trained.records if record.metric == "accuracy"}
    own = figures[str(folder / "model")]
    assert own.value is not None and own.value >= 0.9
    assert set(own.detail["seeds"]) == {"0", "1"} and own.detail["spread"] is not None
    assert own.value == pytest.approx(np.mean(list(own.detail["seeds"].values())))
    assert own.low <= own.value <= own.high  # type: ignore[operator]
    assert {"majority", "tfidf", "random_weighted", "heuristic_majority"} <= set(figures)
    apart = next(r for r in trained.records if r.model.endswith(" - majority") and "mean of" not in r.model)
    assert apart.value == pytest.approx(own.value - figures["majority"].value)  # type: ignore[operator]
    told = str(trained).splitlines()
    assert f"terra: {own.model}: accuracy {own.value:.4f} [{own.low:.3f}, {own.high:.3f}]" in told
    assert told[-1].startswith(f"{len(trained.records)} records, ") and len(told) == len(trained.records) + 2
    keys = [record.key() for record in trained.records]
    assert len(keys) == len(set(keys))


def test_saved_predictions_are_those_of_the_saved_model(folder: Path, trained: Finetuned) -> None:
    out = folder / "terra"
    seed = Passport.read(out).lineage[-1].seed
    saved = read_predictions(out / "predictions" / f"seed{seed}" / "terra.train_dev.jsonl")
    part = find_part("terra", folder / "data")
    assert part is not None
    for row, again in zip(saved.rows, answer_part(out, part), strict=True):
        assert (row.idx, row.label) == (again.idx, again.label)
        assert row.probabilities == pytest.approx(again.probabilities, abs=0.02)  # type: ignore[arg-type]
    seeds = [read_predictions(out / "predictions" / f"seed{n}" / "terra.test.jsonl") for n in (0, 1)]
    mean = read_predictions(out / "predictions" / "mean" / "terra.test.jsonl")
    for one, two, both in zip(seeds[0].rows, seeds[1].rows, mean.rows, strict=True):
        expected = (one.probabilities["entailment"] + two.probabilities["entailment"]) / 2  # type: ignore[index]
        assert both.probabilities["entailment"] == pytest.approx(expected, abs=1e-5)  # type: ignore[index]


def test_an_interrupted_run_goes_on_to_the_same_answers(
    folder: Path, trained: Finetuned, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = training.write_answers

    def fails(*arguments: Any) -> None:
        if "-seed1" in arguments[0].name:
            raise KeyboardInterrupt
        answered(*arguments)

    monkeypatch.setattr(training, "write_answers", fails)
    with pytest.raises(KeyboardInterrupt):
        run_finetune(recipe(folder, "again"))
    assert not (folder / "again").exists()
    monkeypatch.setattr(training, "write_answers", answered)
    lines: list[str] = []
    run_finetune(recipe(folder, "again"), lines.append)
    assert "terra: seed 0: done before" in lines
    for name in ("seed0", "seed1"):
        files = [folder / out / "predictions" / name / "terra.train_dev.jsonl" for out in ("terra", "again")]
        assert files[0].read_text() == files[1].read_text()


def test_a_task_without_training_data_is_cross_fitted(folder: Path) -> None:
    found = run_finetune(
        recipe(folder, "rwsd", tasks=("rwsd",), seeds=1, folds=3, tuning={**FAST, "freeze": "encoder", "epochs": 2})
    )
    rows = read_predictions(folder / "rwsd" / "predictions" / "seed0" / "rwsd.val_crowd.jsonl").rows
    assert sorted(int(row.idx) for row in rows) == list(range(30))
    assert next(r for r in found.records if r.model == str(folder / "model")).n == 30
    part = find_part("rwsd", folder / "data")
    assert part is not None
    with pytest.raises(SlonikError, match="has learned from most of them"):
        answer_part(folder / "rwsd", part)
    frozen = load_task_model(folder / "rwsd")  # its encoder is the one it came from
    assert frozen.encoder.weights_hash() == Passport.read(folder / "rwsd").lineage[-1].inputs["parent"]
    models = {record.model for record in Passport.read(folder / "rwsd").records}
    assert models == {str(folder / "model")}  # baselines and differences are no figures of this checkpoint


def test_a_cross_fitted_model_is_scored_by_its_own_seed_not_by_the_mean(folder: Path) -> None:
    out = folder / "two"
    settings = {**FAST, "freeze": "encoder", "epochs": 1}
    run_finetune(recipe(folder, "two", tasks=("rwsd",), seeds=2, folds=2, tuning=settings))
    seed = Passport.read(out).lineage[-1].seed
    part = find_part("rwsd", folder / "data")
    assert part is not None and (out / "predictions" / "mean").is_dir()
    given = find_system(str(out), lambda *_: pytest.fail("its predictions lie beside it")).answer(part)
    saved = read_predictions(out / "predictions" / f"seed{seed}" / "rwsd.val_crowd.jsonl").rows
    assert [row.probabilities for row in given] == [row.probabilities for row in saved]


def test_a_grid_is_decided_by_the_stopping_set_and_a_teacher_teaches(folder: Path, trained: Finetuned) -> None:
    lines: list[str] = []
    tuning = {**FAST, "epochs": 3}
    given = recipe(folder, "taught", seeds=1, tuning=tuning, grid={"learning_rate": [1e-9, 3e-3]},
                   teaching={"teachers": (str(folder / "terra"),), "weight": 1.0})  # fmt: skip
    found = run_finetune(given, lines.append)
    assert "terra: the stopping set chose learning_rate = 0.003" in lines
    own = next(record for record in found.records if record.model == str(folder / "model"))
    assert own.value is not None and own.value > 0.75  # from the teacher's answers alone
    with pytest.raises(SlonikError, match="they cannot be mapped"):
        run_finetune(recipe(folder, "wrong", tasks=("rwsd",), teaching={"teachers": (str(folder / "terra"),)}))


def test_tasks_share_an_encoder_first(folder: Path) -> None:
    lines: list[str] = []
    finetune_data.write_lines(
        folder / "two" / "russian_superglue" / "RCB" / "train.jsonl",
        [
            {"premise": f"{n}. Идёт {'снег' if n % 3 else 'дождь'}.", "hypothesis": "Сыро.",
             "label": ("entailment", "contradiction", "neutral")[n % 3], "idx": n}
            for n in range(45)
        ],
    )  # fmt: skip
    finetune_data.terra(folder / "two")
    given = recipe(folder, "both", tasks=("terra", "rcb"), data_dir=str(folder / "two"), seeds=1, multitask=True,
                   tuning={**FAST, "epochs": 1})  # fmt: skip
    found = run_finetune(given, lines.append)
    assert lines[0].startswith("all tasks together: terra, rcb")
    assert set(found.models) == {"terra", "rcb"}
    for task, place in found.models.items():
        assert load_task_model(place).config.task == task


def test_a_folder_without_any_task_is_named(folder: Path) -> None:
    lines: list[str] = []
    with pytest.raises(SlonikError, match="has no data of any task"):
        run_finetune(recipe(folder, "none", tasks=("danetqa", "rcb"), skip_missing=True), lines.append)
    assert lines == ["left out, for there is no data: danetqa, rcb"]


def test_what_is_wrong_is_said_before_any_work(folder: Path, trained: Finetuned) -> None:
    with pytest.raises(SlonikError, match=r"is there already.*made it with the same inputs"):
        run_finetune(recipe(folder, "terra"))
    with pytest.raises(SlonikError, match=r"made it from other inputs: recipe.seed \(0 -> 5\) changed"):
        run_finetune(recipe(folder, "terra", seed=5))
    with pytest.raises(SlonikError, match="did you mean 'terra'"):
        run_finetune(recipe(folder, "x", tasks=("terr",)))
    with pytest.raises(SlonikError, match="no data for danetqa"):
        run_finetune(recipe(folder, "x", tasks=("danetqa",)))
    with pytest.raises(SlonikError, match=r"settings for terra.*learning_rat"):
        run_finetune(recipe(folder, "x", per_task={"terra": {"learning_rat": 1}}))
    with pytest.raises(SlonikError, match="is a model for terra, not for rcb"):
        open_predictor("rcb", str(folder / "terra"))
    with pytest.raises(SlonikError, match="encoder without a head"):
        open_predictor("rcb", str(folder / "model"))


def test_predictions_of_a_passage_are_nested_as_in_a_submission() -> None:
    predictor = open_predictor("muserc", "tfidf")
    row = finetune_data.MUSERC_ROW
    line = predictor.answer([predictor.read(row, "line 1")], probabilities=False)[0]
    asked = row["passage"]["questions"]
    assert [q["idx"] for q in line["passage"]["questions"]] == [q["idx"] for q in asked]
    assert [a["idx"] for q in line["passage"]["questions"] for a in q["answers"]] == [7, 8, 9]
    cloze = open_predictor("rucos", "majority")
    given = cloze.read(finetune_data.RUCOS_ROW, "line 1")
    assert cloze.answer([given], probabilities=True)[0]["label"] == "Сборная Италии"
