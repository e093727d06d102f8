"""The leaderboard's zip: its form to the letter, and what keeps it from being written."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from slonik.core.errors import SlonikError
from slonik.evaluation.russian_superglue.predictions import Prediction
from slonik.evaluation.russian_superglue.submission import official_rows, read_submission, write_submission
from slonik.evaluation.russian_superglue.systems import baseline, official_tests
from slonik.evaluation.russian_superglue.tasks import TASKS, Example
from tests.evaluation.russian_superglue.samples import write_data

Answers = dict[str, list[Prediction]]
Tests = dict[str, tuple[Example, ...]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Answers, Tests]:
    parts = official_tests(write_data(tmp_path_factory.mktemp("data")))
    answers = {task: list(baseline("heuristic_majority")(part)) for task, part in parts.items()}
    return answers, {task: part.examples for task, part in parts.items()}


def _lines(path: Path, name: str) -> list[dict]:  # type: ignore[type-arg]
    with zipfile.ZipFile(path) as archive:
        return [json.loads(line) for line in archive.read(name).decode("utf-8").splitlines()]


def test_the_zip_has_nine_files_in_the_official_form(made: tuple[Answers, Tests], tmp_path: Path) -> None:
    answers, tests = made
    path = tmp_path / "submission.zip"
    write_submission(path, {task: rows[::-1] for task, rows in answers.items()}, tests)
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == sorted(f"{task.name}.jsonl" for task in TASKS.values())
    for task in TASKS.values():
        lines = _lines(path, f"{task.name}.jsonl")
        numbers = [line["idx"] for line in lines]
        assert numbers == sorted(numbers) and all(type(number) is int for number in numbers)
        if task.id == "muserc":
            answer = lines[0]["passage"]["questions"][0]["answers"][0]
            assert set(answer) == {"idx", "label"} and answer["label"] in (0, 1) and type(answer["label"]) is int
            continue
        assert all(set(line) == {"idx", "label"} for line in lines)
        kinds = {"rucos": str, "parus": int, "russe": bool, "rwsd": bool, "danetqa": bool}
        assert all(type(line["label"]) is kinds.get(task.id, str) for line in lines)
    text = zipfile.ZipFile(path).read("RuCoS.jsonl").decode("utf-8")
    assert "\\u" not in text  # real letters


def test_what_was_packed_is_read_back(made: tuple[Answers, Tests], tmp_path: Path) -> None:
    answers, tests = made
    path = tmp_path / "submission.zip"
    write_submission(path, answers, tests)
    found = read_submission(path, tests)
    assert {t: [(r.idx, r.label) for r in rows] for t, rows in found.items()} == {
        t: [(r.idx, r.label) for r in rows] for t, rows in answers.items()
    }
    folder = tmp_path / "unpacked"
    zipfile.ZipFile(path).extractall(folder)
    assert read_submission(folder, tests) == found
    packed = tmp_path / "in_a_folder.zip"  # as the published baseline packs it
    with zipfile.ZipFile(packed, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"baseline_submission/{file.name}")
    assert read_submission(packed, tests) == found
    again = tmp_path / "again.zip"
    write_submission(again, answers, tests)
    assert again.read_bytes() == path.read_bytes()


def test_missing_tasks_are_all_named_and_nothing_is_overwritten(made: tuple[Answers, Tests], tmp_path: Path) -> None:
    answers, tests = made
    path = tmp_path / "submission.zip"
    path.write_bytes(b"old")
    few = {task: rows for task, rows in answers.items() if task not in ("rucos", "lidirus")}
    with pytest.raises(SlonikError, match=r"missing for LiDiRus, RuCoS: nothing was written"):
        write_submission(path, few, tests)
    with pytest.raises(SlonikError, match=r"answers to TERRa are not of these items: no answer to 9"):
        write_submission(path, {**answers, "terra": answers["terra"][1:]}, tests)
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("TERRa.jsonl", '{"idx": 9, "label": "yes"}\n', r"TERRa.jsonl, line 1: 'yes' is not a label"),
        ("TERRa.jsonl", '{"idx": 9, "label": "entailment"}\n{"idx": 1', r"line 2 is not a line of a submission"),
        ("TERRa.jsonl", '{"idx": 77, "label": "entailment"}\n', "not of these items"),
        ("MuSeRC.jsonl", '{"idx": 3, "passage": {}}\n', "MuSeRC.jsonl, line 1 is not a line of a submission"),
        ("MuSeRC.jsonl", "[3]\n", "MuSeRC.jsonl, line 1 is not a line of a submission"),
        ("notes.txt", "x", "holds 'notes.txt', which is no file of a submission"),
        ("RCB.jsonl", None, r"has no RCB.jsonl"),
    ],
)
def test_bad_zips_are_refused(
    name: str, content: str | None, sentence: str, made: tuple[Answers, Tests], tmp_path: Path
) -> None:
    answers, tests = made
    good, bad = tmp_path / "good.zip", tmp_path / "bad.zip"
    write_submission(good, answers, tests)
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(bad, "w") as target:
        for member in source.namelist():
            if member != name:
                target.writestr(member, source.read(member))
        if content is not None:
            target.writestr(name, content)
    with pytest.raises(SlonikError, match=sentence):
        read_submission(bad, tests)


def test_a_damaged_archive_is_refused(made: tuple[Answers, Tests], tmp_path: Path) -> None:
    answers, tests = made
    path = tmp_path / "s.zip"
    write_submission(path, answers, tests)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(SlonikError, match="not a sound zip"):
        read_submission(path, tests)
    with pytest.raises(SlonikError, match="there is no submission"):
        read_submission(tmp_path / "none.zip", tests)


def test_several_queries_of_a_rucos_row_are_joined_as_published() -> None:
    examples = [Example(f"5/{q}", {}, None, (), "5", f"5/{q}") for q in (0, 1)]
    rows = [Prediction("5/0", "Омск"), Prediction("5/1", "Тула")]
    assert official_rows(TASKS["rucos"], examples, rows) == [{"idx": 5, "label": "Омск Тула"}]
