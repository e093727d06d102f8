"""`slonik ensemble` on saved predictions: what goes in, what is refused, what comes out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from slonik.core.errors import SlonikError
from slonik.evaluation.russian_superglue.predictions import Prediction, predicted, read_predictions, write_predictions
from slonik.evaluation.russian_superglue.readers import find_file, read_examples
from slonik.evaluation.russian_superglue.systems import find_system
from slonik.evaluation.russian_superglue.tasks import TASKS, label_names
from slonik.finetuning.ensembles.runs import combine_runs, ensemble, ensemble_records, read_runs
from tests.evaluation.russian_superglue import samples
from tests.evaluation.russian_superglue.samples import write_rows

ITEMS = 120


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """TERRa with many development and test items, and LiDiRus."""
    folder = tmp_path_factory.mktemp("data")
    rows = [
        {**samples.TERRA[n % 12], "premise": f"{samples.TERRA[n % 12]['premise']} Запись {n}.", "idx": n}
        for n in range(ITEMS)
    ]
    base = folder / "russian_superglue"
    write_rows(base / "TERRa" / "val.jsonl", rows)
    write_rows(base / "TERRa" / "test.jsonl", [samples.unlabelled(row) for row in rows])
    write_rows(base / "LiDiRus" / "LiDiRus.jsonl", samples.LIDIRUS)
    return folder


def _run(
    folder: Path, data: Path, seed: int, *, splits: tuple[tuple[str, str], ...] = (("terra", "val"), ("terra", "test"))
) -> Path:
    """Predictions that are right three times of four, the mistakes depending on the seed."""
    rng = np.random.default_rng(seed)
    truth = {row["idx"]: row["label"] for row in (*samples.TERRA,)}
    for task, split in splits:
        path = find_file(task, split, data)
        assert path is not None
        examples = read_examples(task, path)
        rows = []
        for example in examples:
            true = str(example.label or truth[int(example.idx) % 12])
            sure = float(np.clip(rng.normal(0.62, 0.18), 0.02, 0.98))
            names = label_names(TASKS[task])
            found = {name: sure if name == true else 1 - sure for name in names}
            rows.append(Prediction(example.idx, max(found, key=lambda name: found[name]), found))
        write_predictions(folder, predicted(task, split, examples, rows, model=folder.name, seed=seed))
    return folder


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs") / "predictions"
    both = (("terra", "val"), ("terra", "test"), ("lidirus", "test"))
    return [_run(folder / f"seed{seed}", data, seed, splits=both) for seed in range(5)]


def test_five_runs_gain_and_their_answers_are_predictions_again(data: Path, runs: list[Path], tmp_path: Path) -> None:
    found = ensemble(runs, tmp_path / "out", data_dir=data, method="greedy")
    one = found.tasks["terra"]
    single, mean = one.scored["single"].main, one.scored["mean"].main
    assert mean.value is not None and single.value is not None and mean.value > single.value + 0.05
    assert np.allclose(np.diag(one.disagreement), 0) and 0.2 < one.disagreement[0][1] < 0.6
    assert found.records and found.checkpoint == tmp_path / "out"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    saved = read_predictions(tmp_path / "out" / "terra.test.jsonl")
    assert saved.header.detail["members"] == [str(run) for run in runs]
    assert sum(saved.header.detail["combination"]["weights"]) == pytest.approx(1)
    system = find_system(str(tmp_path / "out"), lambda folder, part: [])
    assert system.answers("terra", "val") and system.answers("lidirus", "test")
    content = json.loads((tmp_path / "out" / "ensemble.json").read_text(encoding="utf-8"))
    assert set(content) == {"terra", "lidirus"}
    with pytest.raises(SlonikError, match="is there already"):
        ensemble(runs, tmp_path / "out", data_dir=data)


def test_records_have_one_line_per_run_method_and_metric_and_differences_to_the_best_run(
    data: Path, runs: list[Path]
) -> None:
    records = ensemble_records(combine_runs(read_runs(runs, data), data))
    keys = [record.key() for record in records]
    assert len(set(keys)) == len(keys)
    names = {record.model for record in records if record.task == "terra" and record.metric == "accuracy"}
    assert {str(run) for run in runs} < names and "ensemble: stacking" in names
    gain = next(r for r in records if r.metric == "difference" and r.model.startswith("ensemble: mean - best single"))
    assert gain.low is not None and gain.value is not None and gain.low > 0
    assert 0 < gain.detail["p_value"] <= 1 and 0 < gain.detail["mcnemar_p"] < 0.05


def test_nothing_is_fitted_to_lidirus_it_takes_what_terra_has_learnt(data: Path, runs: list[Path]) -> None:
    found = combine_runs(read_runs(runs, data), data, method="stacking")
    assert found["lidirus"].combiner == found["terra"].combiner
    alone = combine_runs(read_runs(runs, data), data, method="vote", tasks=["lidirus"])
    assert set(alone["lidirus"].scored) == {*map(str, runs), "mean", "vote"}
    with pytest.raises(SlonikError, match="'stacking' learns from labelled items, and LiDiRus has none"):
        combine_runs(read_runs(runs, data), data, method="stacking", tasks=["lidirus"])


def test_what_terra_has_learnt_of_some_runs_is_not_laid_on_others(data: Path, runs: list[Path], tmp_path: Path) -> None:
    terra = _run(tmp_path / "terra_only", data, 8)
    lidirus = _run(tmp_path / "lidirus_only", data, 9, splits=(("lidirus", "test"),))
    some = read_runs([terra, runs[0], lidirus], data)
    found = combine_runs(some, data, method="mean")
    assert found["terra"].members == [str(terra), str(runs[0])] != found["lidirus"].members
    assert set(found["lidirus"].fitted) == {"mean", "vote"}
    with pytest.raises(SlonikError, match=r"'weighted' learns .* LiDiRus has none: .* or give predictions of TERRa by"):
        combine_runs(some, data, method="weighted")


def test_without_labels_there_are_means_and_votes(data: Path, tmp_path: Path) -> None:
    own = [_run(tmp_path / name, data, seed, splits=(("terra", "test"),)) for seed, name in enumerate("ab")]
    found = combine_runs(read_runs(own, data), data, method="mean")
    assert found["terra"].scored == {} and len(found["terra"].answers["test"][1]) == ITEMS
    with pytest.raises(SlonikError, match="take one of mean, vote"):
        combine_runs(read_runs(own, data), data, method="greedy")


def test_a_folder_of_runs_is_opened_and_the_mean_of_seeds_left_out(runs: list[Path], data: Path) -> None:
    _run(runs[0].parent / "mean", data, 9)
    assert [run.name for run in read_runs([runs[0].parent], data)] == [str(run) for run in runs]
    assert [run.name for run in read_runs([runs[0].parent.parent], data)] == [str(run) for run in runs]
    single = [run / "terra.val.jsonl" for run in runs[:2]]
    assert [set(run.files) for run in read_runs(single, data)] == [{("terra", "val")}] * 2


def test_runs_of_other_items_and_of_other_versions_are_refused(data: Path, runs: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "data"
    rows = [{**samples.TERRA[n % 12], "premise": f"Иначе {n}.", "idx": n} for n in range(ITEMS)]
    write_rows(other / "russian_superglue" / "TERRa" / "val.jsonl", rows)
    stranger = _run(tmp_path / "stranger", other, 0, splits=(("terra", "val"),))
    with pytest.raises(SlonikError, match=r"stranger and .*seed0 answer different items of terra \(val\)"):
        combine_runs(read_runs([runs[0], stranger], data), data)
    header = stranger / "terra.val.header.json"
    content = json.loads(header.read_text(encoding="utf-8"))
    header.write_text(json.dumps({**content, "protocol": "russian_superglue-1.0"}), encoding="utf-8")
    with pytest.raises(SlonikError, match="scores of the two do not mix"):
        read_runs([runs[0], stranger], data)


def test_too_little_is_refused(data: Path, runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match="needs two runs, there is 1"):
        read_runs([runs[0], runs[0]], data)
    with pytest.raises(SlonikError, match="holds no predictions"):
        read_runs([runs[0], tmp_path], data)
    with pytest.raises(SlonikError, match="no task is answered by two of the runs"):
        combine_runs(read_runs(runs, data), data, tasks=["rcb"])
    with pytest.raises(SlonikError, match="unknown method 'bagging'"):
        combine_runs(read_runs(runs, data), data, method="bagging")


def test_files_without_a_header_are_told_by_their_name_and_numbers(
    data: Path, runs: list[Path], tmp_path: Path
) -> None:
    places = []
    for number, run in enumerate(runs[:3]):
        folder = tmp_path / f"run{number}"
        folder.mkdir()
        (folder / "TERRa.jsonl").write_bytes((run / "terra.val.jsonl").read_bytes())
        places.append(folder)
    # the same numbers in val and test: the first that fits is val
    without = combine_runs(read_runs(places, data), data, method="mean", tasks=["terra"])["terra"]
    with_headers = combine_runs(read_runs(runs[:3], data), data, method="mean", tasks=["terra"])["terra"]
    assert without.scored["mean"].main.value == with_headers.scored["mean"].main.value
    single = tmp_path / "terra.first.jsonl"
    single.write_bytes((runs[0] / "terra.val.jsonl").read_bytes())
    assert set(read_runs([single, places[0]], data)[0].files) == {("terra", "val")}
    nameless = tmp_path / "answers.jsonl"
    nameless.write_bytes(single.read_bytes())
    with pytest.raises(SlonikError, match=r"is not called after a task: call it TASK\.jsonl"):
        read_runs([single, nameless], data)
    single.write_text('{"idx": 0, "label": "entailment"}\n', encoding="utf-8")
    with pytest.raises(SlonikError, match=r"terra.first.jsonl are not of these items: no answer to 1"):
        read_runs([single, places[0]], data)
