"""Reading result files and run folders, and refusing what does not belong in one table."""

from __future__ import annotations

from pathlib import Path

import pytest

from slonik.core.errors import SlonikError
from slonik.core.passport import Passport, Step
from slonik.core.records import Record, write_records
from slonik.reporting.collect import collect
from tests.reporting.records import record, resources, scores


def file_of(folder: Path, name: str, records: list[Record]) -> Path:
    path = folder / name
    write_records(path, records)
    return path


def test_files_and_folders_are_read_together(tmp_path: Path) -> None:
    passport = Passport(name="student", lineage=(Step(command="compress"),)).with_records(scores("student", 1))
    run = tmp_path / "run"
    passport.write(run)
    write_records(run / "records.json", scores("teacher", 0))
    file = file_of(tmp_path, "bench.json", resources("student", 0.2))
    found = collect([run, file])
    assert {record.model for record in found.records} == {"student", "teacher"}
    assert {record.suite for record in found.records} == {"encodechka", "resources"}
    assert [one.name for one in found.passports] == ["student"]


def test_a_later_figure_replaces_an_earlier_one(tmp_path: Path) -> None:
    files = [file_of(tmp_path, f"{value}.json", [record("sts", value)]) for value in (0.5, 0.6)]
    assert [one.value for one in collect(files).records] == [0.6]


def test_other_data_or_another_protocol_are_refused(tmp_path: Path) -> None:
    for name in ("data", "protocol"):
        one = file_of(tmp_path, "one.json", [record("sts", 0.5, model="a", hashes={name: "aaaa", "weights": "1"})])
        two = file_of(tmp_path, "two.json", [record("sts", 0.6, model="b", hashes={name: "bbbb", "weights": "2"})])
        with pytest.raises(SlonikError, match=rf"encodechka sts \(compatible\) was measured on different {name}"):
            collect([one, two])
        assert collect([one, two], suites=["probing"]).records == []


def test_other_weights_under_one_name_are_refused(tmp_path: Path) -> None:
    files = [
        file_of(tmp_path, f"{digit}.json", [record("sts", 0.5, model="a", hashes={"weights": digit})]) for digit in "12"
    ]
    with pytest.raises(SlonikError, match="two different models are called 'a'"):
        collect(files)


def test_speeds_on_other_texts_are_refused_whatever_the_engine(tmp_path: Path) -> None:
    one = file_of(tmp_path, "1.json", [record("batch_1", 1.0, suite="resources", variant="a", hashes={"texts": "x"})])
    two = file_of(tmp_path, "2.json", [record("batch_1", 1.0, suite="resources", variant="b", hashes={"texts": "y"})])
    with pytest.raises(SlonikError, match="different texts"):
        collect([one, two])


def test_variants_and_layers_have_their_own_hashes(tmp_path: Path) -> None:
    records = [
        record("sts", 0.5, variant="compatible", hashes={"protocol": "1"}),
        record("sts", 0.5, variant="fixed", hashes={"protocol": "2"}),
    ]
    assert len(collect([file_of(tmp_path, "r.json", records)]).records) == 2


@pytest.mark.parametrize(("content", "words"), [("{}", "not a list"), ("nonsense", "not a readable result file")])
def test_broken_files_end_in_a_sentence(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "broken.json"
    path.write_text(content)
    with pytest.raises(SlonikError, match=words):
        collect([path])


def test_missing_files_and_empty_folders_end_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match="there is no result file"):
        collect([tmp_path / "nowhere.json"])
    with pytest.raises(SlonikError, match=r"neither passport\.json nor records\.json"):
        collect([tmp_path])
