"""Probing files: the stated policy on everything the format leaves open."""

from __future__ import annotations

from pathlib import Path

import pytest

from slonik.core.errors import SlonikError
from slonik.inspection.probing.tasks import TASKS, find_file, published_records, read_task, read_tasks, task_of_rows

TASK = TASKS["gapping"]
GOOD = "tr\t0\tПервое предложение .\ntr\t1\tВторое предложение .\n\nva\t0\tТретье .\nte\t1\tЧетвёртое .\n"


def _file(folder: Path, text: str) -> Path:
    path = folder / TASK.file
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_go_to_their_subsets(tmp_path: Path) -> None:
    data = read_task(_file(tmp_path, GOOD), TASK)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [2, 1, 1]
    assert data.classes == ["0", "1"]
    assert data.texts[-1] == "Четвёртое ."
    assert any("one or two training sentences" in note for note in data.notes)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tr\t0\n", "line 1: 2 columns"),
        ("train\t0\tтекст\n", "subset 'train'"),
        ("tr\t\tтекст\n", "an empty label"),
        (GOOD.replace("te\t1", "va\t1"), "has no te rows"),
        ("tr\t1\tа б\ntr\t1\tв г\nva\t1\tд\nte\t1\tе\n", "every tr row .* has the label '1'"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SlonikError, match=says):
        read_task(_file(tmp_path, text), TASK)


def test_validation_is_taken_from_training_where_there_is_none(tmp_path: Path) -> None:
    rows = [f"tr\t{number % 2}\tПредложение номер {number}" for number in range(60)] + ["te\t2\tДругой класс"]
    data = read_task(_file(tmp_path, "\n".join(rows)), TASK)
    assert 2 <= len(data.validation) <= 20
    assert len(data.train) + len(data.validation) == 60
    assert not set(data.train.texts) & set(data.validation.texts)
    assert any("serve as validation" in note for note in data.notes)
    assert any("count as errors: '2' 1" in note for note in data.notes)


def test_a_limit_keeps_proportions(tmp_path: Path) -> None:
    rows = [
        f"{subset}\t{n % 2}\tТекст {subset} {n}"
        for subset, size in (("tr", 60), ("va", 20), ("te", 20))
        for n in range(size)
    ]
    path = _file(tmp_path, "\n".join(rows))
    data = read_task(path, TASK, limit=50)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [30, 10, 10]
    assert data.texts == read_task(path, TASK, limit=50).texts
    assert find_file(TASK, tmp_path) == path
    assert find_file(TASKS["sent_len"], tmp_path) is None


def test_published_values_stand_beside_original_files_alone(tmp_path: Path) -> None:
    task = TASKS["ngram_shift"]
    path = tmp_path / task.file
    path.write_text(GOOD, encoding="utf-8")
    found = {record.model: record for record in published_records([read_task(path, task)])}
    assert found["XLM-R (published)"].value == 0.869
    assert found["XLM-R (published)"].detail["layer"] == 9
    (tmp_path / "manifest.json").write_text("{}", encoding="utf-8")
    assert published_records([read_task(path, task)]) == []


def test_rows_in_python_are_judged_as_files_are(tmp_path: Path) -> None:
    rows = [tuple(line.split("\t")) for line in GOOD.splitlines() if line]
    given, read = task_of_rows("gapping", rows), read_task(_file(tmp_path, GOOD), TASK)  # type: ignore[arg-type]
    assert given.texts == read.texts
    assert (given.train.labels == read.train.labels).all()
    assert published_records([given]) == []
    assert task_of_rows("gapping", rows[::-1]).sha256 != given.sha256  # type: ignore[arg-type]
    with pytest.raises(SlonikError, match=r"gapping, row 2: subset 'train'"):
        task_of_rows("gapping", [*rows[:1], ("train", "0", "текст")])  # type: ignore[list-item]
    own = task_of_rows("Past_Present", rows, words=["а", "б", "в", "г"])  # type: ignore[arg-type]
    assert (own.task.id, own.task.group) == ("past_present", "other")
    assert (own.train.words, own.test.words) == (("а", "б"), ("г",))
    with pytest.raises(SlonikError, match="4 rows and 1 words"):
        task_of_rows("own", rows, words=["а"])  # type: ignore[arg-type]


def test_any_file_of_the_form_is_a_task_under_its_name(tmp_path: Path) -> None:
    (tmp_path / "rusenteval").mkdir()
    (tmp_path / "rusenteval" / "past_present.txt").write_text(GOOD, encoding="utf-8")
    (tmp_path / "rusenteval" / "README.txt").write_text("Not rows.\n", encoding="utf-8")
    (tmp_path / "Odd_Man_Out.txt").write_text(GOOD, encoding="utf-8")
    found, missing = read_tasks(tmp_path)
    assert sorted(data.task.id for data in found) == ["odd_man_out", "past_present"]
    assert set(missing) == set(TASKS)
    for name in ("past_present", "Odd_Man_Out", "odd_man_out", str(tmp_path / "Odd_Man_Out.txt")):
        (data,), missing = read_tasks(tmp_path, [name])
        assert missing == []
        assert data.task.id == Path(name).stem.lower()
    with pytest.raises(SlonikError, match=r"'past_presnt'; did you mean 'past_present'.*past_presnt.txt in"):
        read_tasks(tmp_path, ["past_presnt"])
    for name in ("../other/past_present", "sub/past_present", "..", "", "past\\present"):
        with pytest.raises(SlonikError, match="is no name of a probing task"):
            read_tasks(tmp_path, [name])
    with pytest.raises(SlonikError, match="there is no probing file nowhere"):
        read_tasks(tmp_path, ["nowhere.txt"])


@pytest.mark.shared_data
def test_the_original_file(shared_data: Path) -> None:
    path = find_file(TASK, shared_data)
    assert path is not None
    data = read_task(path, TASK)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [3116, 824, 370]
    assert data.notes == ()
