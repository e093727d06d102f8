"""Records and passports survive the round trip, and refuse what they are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slonik.core.errors import SlonikError
from slonik.core.passport import Passport, Step
from slonik.core.records import Record, merge_records, read_records, write_records

STS = Record(suite="encodechka", task="sts", variant="compatible", model="m", metric="spearman", value=0.5, n=3)


def test_write_then_read_is_identity(tmp_path: Path) -> None:
    layered = STS.model_copy(update={"layer": 3, "detail": {"pooling": "mean"}, "hashes": {"data": "abc"}})
    write_records(tmp_path / "r.json", [STS, layered])
    assert read_records(tmp_path / "r.json") == [STS, layered]


def test_a_record_is_a_flat_object_with_the_promised_fields(tmp_path: Path) -> None:
    write_records(tmp_path / "r.json", [STS])
    (content,) = json.loads((tmp_path / "r.json").read_text())
    promised = {"suite", "task", "variant", "model", "metric", "value", "low", "high", "n", "seed", "seconds"}
    assert promised <= set(content)
    assert "layer" not in content


@pytest.mark.parametrize(
    ("content", "words"),
    [("{", "not a readable"), ("{}", "not a list"), ('[{"suite": "x"}]', "record 0"), ('[{"suits": 1}]', "record 0")],
)
def test_what_is_no_result_file_is_named(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(SlonikError, match=words):
        read_records(tmp_path / "r.json")


def test_a_later_measurement_replaces_the_earlier_one() -> None:
    newer = STS.model_copy(update={"value": 0.6})
    other = STS.model_copy(update={"task": "pi"})
    assert merge_records([STS, other], [newer]) == (other, newer)


def test_a_passport_grows_and_a_child_starts_without_the_parents_figures(tmp_path: Path) -> None:
    parent = Passport(name="e5", origin="registry").with_records([STS])
    parent.write(tmp_path)
    assert Passport.read(tmp_path) == parent
    child = parent.with_step(Step(command="trim", inputs={"parent": "abc"}, seed=1), name="e5-ru")
    assert (child.name, child.origin, child.records) == ("e5-ru", "registry", ())
    assert [step.command for step in child.lineage] == ["trim"]


def test_a_folder_without_passport_gets_an_empty_one(tmp_path: Path) -> None:
    assert Passport.read(tmp_path) == Passport(name=tmp_path.name)
    (tmp_path / "passport.json").write_text("{}")
    with pytest.raises(SlonikError, match="not a passport"):
        Passport.read(tmp_path)
