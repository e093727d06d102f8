"""What is measured on, and how one file is parted: groups whole, labels even, the same every time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from slonik.core.errors import SlonikError
from slonik.evaluation.russian_superglue.parts import (
    FOLDS,
    TRAIN_DEV,
    find_part,
    find_parts,
    fold_numbers,
    held_out,
    part_of,
)
from slonik.evaluation.russian_superglue.predictions import Prediction, predicted
from slonik.evaluation.russian_superglue.readers import find_file, read_examples
from slonik.evaluation.russian_superglue.suite import answer_and_score
from slonik.evaluation.russian_superglue.systems import baseline
from slonik.evaluation.russian_superglue.tasks import Example
from tests.evaluation.russian_superglue import samples
from tests.evaluation.russian_superglue.samples import write_data, write_rows


def _pairs(count: int, texts: int) -> list[Example]:
    return [
        Example(
            n, {"premise": f"текст {n % texts}", "hypothesis": str(n)}, ("entailment", "not_entailment")[n % 3 == 0]
        )
        for n in range(count)
    ]


def test_folds_keep_groups_whole_and_labels_even() -> None:
    examples = _pairs(300, 90)
    numbers = fold_numbers("terra", examples)
    assert set(numbers) == set(range(FOLDS))
    by_text: dict[str, set[int]] = {}
    for example, number in zip(examples, numbers, strict=True):
        by_text.setdefault(example.fields["premise"], set()).add(number)
    assert all(len(found) == 1 for found in by_text.values())
    for label in ("entailment", "not_entailment"):
        counts = Counter(n for e, n in zip(examples, numbers, strict=True) if e.label == label)
        assert max(counts.values()) - min(counts.values()) <= 5
    assert numbers == fold_numbers("terra", examples)
    assert numbers != fold_numbers("terra", examples, seed=1)


def test_pairs_of_lidirus_stay_with_their_mirror_image() -> None:
    forward = [Example(n, {"sentence1": f"а{n}", "sentence2": f"б{n}"}, "entailment") for n in range(20)]
    back = [Example(20 + n, {"sentence1": f"б{n}", "sentence2": f"а{n}"}, "entailment") for n in range(20)]
    numbers = fold_numbers("lidirus", forward + back)
    assert numbers[:20] == numbers[20:]


def test_the_held_out_part_shares_no_text_with_the_rest() -> None:
    train, dev = held_out("terra", _pairs(300, 90))
    assert len(train) + len(dev) == 300 and 40 < len(dev) < 80
    assert not {e.fields["premise"] for e in train} & {e.fields["premise"] for e in dev}


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(SlonikError, match="3 different items of TERRa cannot be parted into 5 folds"):
        fold_numbers("terra", _pairs(30, 3))


def test_the_official_development_set_comes_first_then_labelled_tests_then_the_crowd(tmp_path: Path) -> None:
    folder = write_data(tmp_path)
    base = folder / "russian_superglue"
    write_rows(base / "PARus" / "val_crowd.jsonl", samples.PARUS)
    parts, missing = find_parts(folder)
    assert not missing
    assert (parts["parus"].split, parts["lidirus"].split) == ("val", "test")
    assert parts["lidirus"].train is not None and parts["lidirus"].fitted_on.startswith("TERRa train")
    (base / "PARus" / "val.jsonl").unlink()
    part = find_part("parus", folder)
    assert part is not None and part.split == "val_crowd" and part.train is not None
    (base / "PARus" / "train.jsonl").unlink()
    crossed = find_part("parus", folder)
    assert crossed is not None and crossed.train is None and "cross-fitting" in crossed.fitted_on


def test_nothing_but_training_data_gives_a_held_out_part_of_it(tmp_path: Path) -> None:
    folder = write_data(tmp_path, leave_out=("TERRa/val.jsonl", "TERRa/test.jsonl"))
    part = find_part("terra", folder)
    assert part is not None and part.split == TRAIN_DEV and part.train is not None
    assert len(part.train) + len(part.examples) == 6
    assert not {e.idx for e in part.train} & {e.idx for e in part.examples}


def test_cross_fitting_never_shows_an_item_its_own_fold(tmp_path: Path) -> None:
    write_rows(tmp_path / "russian_superglue" / "PARus" / "val_crowd.jsonl", samples.PARUS)
    part = find_part("parus", tmp_path)
    assert part is not None
    seen: list[tuple[set[int | str], set[int | str]]] = []

    def fit(train: object) -> object:
        known = {e.idx for e in train}  # type: ignore[attr-defined]

        def answer(examples: object) -> list[Prediction]:
            asked = {e.idx for e in examples}  # type: ignore[attr-defined]
            seen.append((known, asked))
            return [Prediction(idx, 0) for idx in asked]

        return answer

    rows = part.answered(fit)  # type: ignore[arg-type]
    assert [row.idx for row in rows] == [e.idx for e in part.examples]
    assert len(seen) == FOLDS and all(not known & asked for known, asked in seen)
    assert all(len(known | asked) == len(part.examples) for known, asked in seen)


def test_other_data_has_another_hash_and_other_splits_another_protocol(tmp_path: Path) -> None:
    folder = write_data(tmp_path)
    first = find_part("rcb", folder)
    assert first is not None
    before = first.hashes()
    path = find_file("rcb", "val", folder)
    assert path is not None
    rows = [{**row, "label": "neutral"} for row in samples.RCB[6:9]]
    write_rows(path, rows)
    again = find_part("rcb", folder)
    assert again is not None
    assert again.hashes()["data"] != before["data"] and again.hashes()["protocol"] == before["protocol"]


def test_no_data_is_said_with_the_files_that_were_looked_for(tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match=r"russian_superglue/TERRa/\{val.jsonl.*slonik fetch russian-superglue"):
        find_parts(tmp_path)
    folder = write_data(tmp_path, leave_out=("TERRa/val.jsonl",))
    with pytest.raises(SlonikError, match="unknown split 'dev'"):
        find_part("terra", folder, split="dev")
    path = folder / "russian_superglue" / "RCB" / "val.jsonl"
    write_rows(path, [samples.RCB[0], samples.unlabelled(samples.RCB[1])])
    with pytest.raises(SlonikError, match="item 1 has no label, though others have"):
        find_part("rcb", folder)


def test_predictions_of_a_part_of_the_training_data_find_it_and_fit_baselines_to_the_rest(tmp_path: Path) -> None:
    folder = write_data(tmp_path, leave_out=("TERRa/val.jsonl", "TERRa/test.jsonl"))
    path = find_file("terra", "train", folder)
    assert path is not None
    mine = read_examples("terra", path)[1:4]
    rows = [Prediction(e.idx, "entailment") for e in mine]
    part = part_of(predicted("terra", "train_dev", mine, rows, model="m"), folder, "mine")
    assert [e.idx for e in part.examples] == [1, 2, 3] and part.train is not None
    assert {e.idx for e in part.train} == {0, 4, 5}
    found = answer_and_score("majority", baseline("majority"), {"terra": part})
    assert found.records[0].n == 3 and found.records[0].detail["split"] == TRAIN_DEV


def test_the_nine_task_score_needs_nine_tasks(tmp_path: Path) -> None:
    folder = write_data(tmp_path)
    parts, _ = find_parts(folder)
    whole = answer_and_score("majority", baseline("majority"), parts)
    record = whole.records[-1]
    assert (record.task, record.metric) == ("score", "score")
    mains = [float(found.main.value or 0) for found in whole.tasks.values()]
    assert record.value == pytest.approx(sum(mains) / 9)
    assert record.low is not None and record.high is not None and record.low <= record.value <= record.high
    del parts["rucos"]
    assert "score" not in {r.task for r in answer_and_score("majority", baseline("majority"), parts).records}


def test_lidirus_is_broken_down_by_category(tmp_path: Path) -> None:
    folder = write_data(tmp_path)
    parts, _ = find_parts(folder, ["lidirus"])
    perfect = answer_and_score("m", lambda part: [Prediction(e.idx, e.label or "") for e in part.examples], parts)
    found = perfect.records[0].detail["categories"]
    assert found["logic: Universal"]["n"] == 2 and found["logic: Universal"]["value"] == 1
    assert found["logic"]["n"] == 4 and found["knowledge: Common sense"] == {
        "value": 0.0, "low": 0.0, "high": 0.0, "accuracy": 1.0, "n": 1,
    }  # fmt: skip
