"""The board's data: what is read, what is put apart, what is told, who is ranked, who is refused."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from slonik.cli.main import build_app
from slonik.core.errors import SlonikError
from slonik.core.passport import Passport, Step
from slonik.core.records import Record, write_records
from slonik.evaluation.board import board, check_submission
from slonik.evaluation.russian_superglue.suite import russian_superglue
from slonik.reporting.board.packing import unpacked
from slonik.reporting.board.spreadsheet import read_spreadsheet
from tests.evaluation.russian_superglue.samples import write_data
from tests.reporting.records import differences, record, resources, scores


def saved(folder: Path, records: list[Record], name: str = "records.json") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_records(folder / name, records)
    return folder


def content(page: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and arrays of a written board."""
    found = re.search(r'id="board-data">([^<]+)<', page.read_text(encoding="utf-8"))
    assert found is not None
    return unpacked(base64.b64decode(found[1]))


def rows(page: Path, suite: str) -> dict[str, dict[str, tuple[float, float, float, int, int]]]:
    """Row -> column -> (value, low, high, best rank, worst rank) of the first table of a suite."""
    header, arrays = content(page)
    table = next(one for one in header["tables"] if one["suite"] == suite)
    found: dict[str, dict[str, tuple[float, float, float, int, int]]] = {}
    for cell in range(table["start"], table["start"] + table["count"]):
        model, qualifier, standing, _ = table["rows"][arrays["row"][cell]]
        name = header["models"][model]["n"] + (f" ({qualifier})" if qualifier else "")
        name += "" if standing == "measured" else f" <{standing}>"
        figure = tuple(arrays[part][cell] for part in ("value", "low", "high", "rankLow", "rankHigh"))
        found.setdefault(name, {})[table["columns"][arrays["column"][cell]]["label"]] = figure
    return found


def built(tmp_path: Path, *paths: Path, **options: Any) -> Any:
    return board(list(paths), out=tmp_path / "site", overwrite=True, **{"published": False, **options})


def test_one_site_of_records_passports_and_published_rows(tmp_path: Path) -> None:
    passport = Passport(name="small", origin="org/teacher").with_step(
        Step(command="compress", seconds=60.0, summary={"pieces_before": 100, "pieces_after": 10}, license="MIT")
    )
    run = saved(tmp_path / "runs" / "one", [*scores("teacher", 0), *differences("small", "teacher")])
    passport.with_records(scores("small", 1)).write(run)
    saved(tmp_path / "runs" / "two", resources("small", 0.2), "speed.json")
    (tmp_path / "runs" / "plan.json").write_text('{"layers": [1]}')
    found = built(tmp_path, tmp_path / "runs", published=True)
    header, _ = content(found.page)
    models = {model["n"]: model for model in header["models"]}
    assert models["small"]["licence"] == "MIT" and models["small"]["parameters"] == pytest.approx(23_520_000)
    (step,) = models["small"]["lineage"]
    assert step["seconds"] == 60 and step["found"] == {"pieces": "100 → 10"} and step["parents"] == ["org/teacher"]
    assert "1 .json" in found.notices[0]
    mteb = rows(found.page, "mteb")
    mean = "mean of 23 tasks"
    means = {name.split(" <")[0]: round(float(row[mean][0]), 3) for name, row in mteb.items() if mean in row}
    expected = {
        "ai-forever/FRIDA": 0.709, "sergeyzh/rubert-mini-frida": 0.632, "deepvk/USER2-small": 0.585,
        "intfloat/multilingual-e5-small": 0.572, "sergeyzh/rubert-tiny-turbo": 0.537,
        "cointegrated/rubert-tiny2": 0.427,
    }  # fmt: skip
    assert {name: means[name] for name in expected} == expected
    own = rows(found.page, "encodechka")
    assert own["small"]["sts"][:3] == pytest.approx((0.81, 0.8, 0.82)) and own["small"]["sts"][3:] == (1, 2)
    assert "cointegrated/rubert-tiny2 <published>" in own


def test_rows_that_lack_a_task_are_not_ranked_over_tasks(tmp_path: Path) -> None:
    whole = [record(task, 0.5, model=model, low=0.4, high=0.6) for model in "abc" for task in ("sts", "pi", "ti", "ic")]
    run = saved(tmp_path / "runs", [*whole, record("sts", 0.99, model="one task", low=0.98, high=1.0)])
    found = rows(built(tmp_path, run).page, "encodechka")
    assert set(found["one task"]) == {"tasks", "sts"} and found["one task"]["tasks"][0] == 0.25
    assert found["a"]["mean of 4 tasks"][0] == 0.5 and {"Borda", "Copeland"} <= set(found["a"])


def test_means_over_other_tasks_never_share_a_column(tmp_path: Path) -> None:
    own = [record(task, 0.5, model=model) for model in "ab" for task in ("sts", "pi")]
    theirs = [
        record(task, 0.9, model="lab/x", metric="published", detail={"published": True, "source": "s"})
        for task in ("sts", "pi", "ti")
    ]
    found = rows(built(tmp_path, saved(tmp_path / "runs", [*own, *theirs])).page, "encodechka")
    assert "mean of 2 tasks" in found["a"] and "mean of 3 tasks" not in found["a"]
    assert {"mean of 2 tasks", "mean of 3 tasks"} <= set(found["lab/x <published>"])


def test_other_items_stand_in_other_columns_and_other_weights_in_other_rows(tmp_path: Path) -> None:
    one = record("sts", 0.5, model="a", hashes={"data": "aa" * 8, "weights": "11" * 8})
    two = record("sts", 0.6, model="b", hashes={"data": "bb" * 8, "weights": "22" * 8})
    three = record("pi", 0.7, model="a", hashes={"data": "cc" * 8, "weights": "33" * 8})
    for number, made in enumerate((one, two, three)):
        saved(tmp_path / "runs" / str(number), [made])
    found = built(tmp_path, tmp_path / "runs")
    told = rows(found.page, "encodechka")
    assert told["a (weights 11111111)"]["sts (data aaaaaaaa)"][0] == 0.5
    assert told["b"]["sts (data bbbbbbbb)"][0] == 0.6
    assert told["a (weights 33333333)"]["pi"][0] == pytest.approx(0.7)
    assert any("two different models are called a" in notice for notice in found.notices)
    assert any("different items" in notice for notice in found.notices)


def test_two_values_of_one_figure_both_stand_and_equal_ones_once(tmp_path: Path) -> None:
    for number, value in enumerate((0.5, 0.5, 0.6)):
        saved(tmp_path / "runs" / str(number), [record("sts", value, model="a")])
    found = rows(built(tmp_path, tmp_path / "runs").page, "encodechka")
    assert {name: row["sts"][0] for name, row in found.items()} == {"a": 0.5, "a (from 2/records.json)": 0.6}


def test_doubtful_figures_are_shown_marked_and_told(tmp_path: Path) -> None:
    made = [record("sts", 0.5, model="a", low=0.6, high=0.7), record("pi", 71.0, model="a")]
    found = built(tmp_path, saved(tmp_path / "runs", made))
    header, arrays = content(found.page)
    assert sorted(arrays["flags"][arrays["flags"] > 0].tolist())[-2:] == [1, 2] or set(arrays["flags"]) >= {1, 2}
    assert any("0.5 is not in [0.6, 0.7]" in notice for notice in found.notices)
    assert any("no fraction" in notice and "71" in notice for notice in found.notices)
    assert header["notices"] == list(found.notices)


def test_names_of_moroccos_logs_are_those_of_the_leaderboard(tmp_path: Path) -> None:
    logs = [
        record(task, 100.0, suite="morocco", variant="", model="rubert", metric="rps") for task in ("terra", "rwsd")
    ]
    logs += [record("terra", 2.0, suite="morocco", variant="", model="rubert", metric="gpu_ram")]
    found = built(tmp_path, saved(tmp_path / "runs", logs), published=True)
    header, _ = content(found.page)
    models = {model["n"]: model for model in header["models"]}
    assert "rubert" not in models and models["RuBERT plain"]["disc"] == [100.0, 0.521, 2.0, None]
    partial = [record("terra", 0.6, suite="russian_superglue", variant="", model="rugpt3-x", metric="accuracy")]
    partial += [one.model_copy(update={"model": "rugpt3-x"}) for one in logs]
    header, _ = content(built(tmp_path, saved(tmp_path / "more", partial)).page)
    assert header["models"][0]["disc"] == [100.0, 0.6, 2.0, 1]


def test_mtebs_encodechka_is_not_encodechka(tmp_path: Path) -> None:
    made = [record("sts", 0.5, model="a"), record("sts", 0.6, model="a", suite="mteb", variant="Encodechka")]
    page = built(tmp_path, saved(tmp_path / "runs", made)).page
    assert rows(page, "encodechka")["a"]["sts"][0] == 0.5 and rows(page, "mteb")["a"]["sts"][0] == 0.6


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[{"suite": "s", "task": "t", "model": "m", "metric": "x", "value": 1, "future": 2}]', "future.*later"),
        ('[{"suite": "s", "task": "t", "model": "m", "value": 1}]', "metric: Field required"),
    ],
)
def test_broken_records_are_refused_by_name(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(SlonikError, match=words):
        built(tmp_path, tmp_path)
    assert not (tmp_path / "site").exists()


def test_a_passport_of_a_later_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "passport.json").write_text('{"format": 2, "name": "x", "novelty": 1}')
    with pytest.raises(SlonikError, match="format 2, written by a later version"):
        built(tmp_path, tmp_path)


def test_a_folder_that_is_there_is_not_replaced_unasked(tmp_path: Path) -> None:
    run = saved(tmp_path / "runs", scores("a", 0))
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "mine.txt").write_text("kept")
    with pytest.raises(SlonikError, match="site"):
        board(run, out=tmp_path / "site", published=False)
    assert (tmp_path / "site" / "mine.txt").read_text() == "kept"


CSV = (
    "model;suite;task;metric;value;low;high;n;data;protocol\nМодель;encodechka;sts;spearman;0,81;0,80;0,82;100;d1;p1\n"
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1251"])
@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_csv_of_any_kind_is_read(tmp_path: Path, encoding: str, delimiter: str) -> None:
    path = tmp_path / "theirs.csv"
    path.write_bytes(CSV.replace(";", delimiter).encode(encoding))
    (found,) = read_spreadsheet(path) or []
    assert (found.model, found.value, found.low, found.n) == ("Модель", 0.81, 0.8, 100)
    assert found.hashes == {"data": "d1", "protocol": "p1"}


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("value", "valeu", "no column 'value': the nearest is 'valeu'"),
        ("model", "name", "no column 'model'"),
        ("low", "lo_w", "column 'lo_w'.*did you mean 'low'"),
        ("0,81", "much", "line 2: value is 'much'"),
        (";100;", ";1,5;", "n is '1,5'"),
        (";d1;p1", ";d1", "9 cells, the header 10"),
    ],
)
def test_csv_that_cannot_be_understood_is_refused(tmp_path: Path, before: str, after: str, words: str) -> None:
    path = tmp_path / "theirs.csv"
    path.write_text(CSV.replace(before, after, 1), encoding="utf-8")
    with pytest.raises(SlonikError, match=words):
        read_spreadsheet(path)


HASHES = {"data": "d" * 64, "protocol": "p" * 64}


def theirs(**fields: Any) -> Record:
    given: dict[str, Any] = {"model": "theirs", "low": 0.5, "high": 0.7, "hashes": HASHES}
    return record("sts", fields.pop("value", 0.6), **{**given, **fields})


def test_a_submission_is_held_against_ours_and_stands_as_reported(tmp_path: Path) -> None:
    ours = saved(tmp_path / "runs", [record("sts", 0.5, model="ours", low=0.4, high=0.6, hashes=HASHES)])
    file = saved(tmp_path / "in", [theirs()]) / "records.json"
    out = tmp_path / "reported" / "lab.json"
    arguments = ["board", "check", str(file), "--by", "Lab", "--against", str(ours), "--out", str(out)]
    done = CliRunner().invoke(build_app(), arguments)
    assert done.exit_code == 0 and "1 figures of 1 model reported by Lab" in done.output and "1 of them" in done.output
    found = rows(built(tmp_path, ours, out).page, "encodechka")
    assert found["theirs <reported>"]["sts"][0] == 0.6 and found["ours"]["sts"][0] == 0.5
    assert json.loads(out.read_text())[0]["detail"]["reported_by"] == "Lab"


@pytest.mark.parametrize(
    ("change", "by", "words"),
    [
        ({}, None, "nobody is said to have measured it"),
        ({"hashes": {"protocol": "p" * 64}}, "Lab", "no hash of its items"),
        ({"hashes": {"data": "d" * 64}}, "Lab", "no hash of the protocol"),
        ({"hashes": {"data": "e" * 64, "protocol": "p" * 64}}, "Lab", "answers other items"),
        ({"hashes": {"data": "d" * 64, "protocol": "q" * 64}}, "Lab", "another protocol"),
        ({"value": 0.9}, "Lab", "not in its interval"),
        ({"value": 60.0, "low": 50.0, "high": 70.0}, "Lab", "divide percentages"),
        ({"high": None}, "Lab", "two ends"),
        ({"value": None}, "Lab", "no value"),
        ({"suite": "encodechk"}, "Lab", "did you mean 'encodechka'"),
        ({"model": " "}, "Lab", "its model is empty"),
    ],
)
def test_a_submission_that_cannot_stand_is_refused(tmp_path: Path, change: Any, by: str | None, words: str) -> None:
    ours = saved(tmp_path / "runs", [record("sts", 0.5, model="ours", hashes=HASHES)])
    file = saved(tmp_path / "in", [theirs(**change)]) / "records.json"
    with pytest.raises(SlonikError, match=words):
        check_submission(file, by=by, against=[ours], out=tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()


def test_rows_of_ones_own_are_kept_apart_and_said(tmp_path: Path) -> None:
    own = {"suite": "own", "variant": "", "hashes": {"data": "d" * 64}}
    ours = saved(tmp_path / "runs", [record("reviews", 0.5, model="ours", low=0.4, high=0.6, **own)])
    other = {**own, "hashes": {"data": "e" * 64}}
    handed = [record("reviews", 0.7, model="theirs", low=0.6, high=0.8, **other)]
    change = {"detail": {"model": "theirs", "against": "b", "of": "accuracy"}, "metric": "accuracy_difference"}
    file = saved(tmp_path / "in", [*handed, record("reviews", 0.1, **{"model": "theirs - b", **other, **change})])
    out = tmp_path / "theirs.json"
    found = check_submission(file / "records.json", by="Lab", against=[ours], out=out)
    assert [one.model for one in found.records] == ["theirs"] and found.confirmed == 0
    assert any("1 differences of two models are left out" in one for one in found.notices)
    assert any("no published protocol (reviews)" in one and "columns of their own" in one for one in found.notices)
    cells = rows(built(tmp_path, ours, out).page, "own")
    (mine,), (reported,) = cells["ours"].items(), cells["theirs <reported>"].items()
    assert mine[0] != reported[0] and mine[1][3:] != (1, 2)  # other rows: other columns, no common rank
    same = saved(tmp_path / "same", [one.model_copy(update={"hashes": own["hashes"]}) for one in handed])
    assert check_submission(same / "records.json", by="Lab", against=[ours]).confirmed == 1
    with pytest.raises(SlonikError, match="no hash of its items"):
        bare = saved(tmp_path / "bare", [one.model_copy(update={"hashes": {}}) for one in handed])
        check_submission(bare / "records.json", by="Lab")


def test_differences_alone_make_no_board(tmp_path: Path) -> None:
    folder = saved(tmp_path / "runs", differences("small", "teacher"))
    for published in (True, False):
        with pytest.raises(SlonikError, match="differences of two models and no figure of a model"):
            built(tmp_path, folder, published=published)
    with pytest.raises(SlonikError, match="no record there has a value"):
        built(tmp_path, saved(tmp_path / "none", [record("sts", None)]))
    with pytest.raises(SlonikError, match="differences of two models alone"):
        check_submission(folder / "records.json", by="Lab")
    assert not (tmp_path / "site").exists()


def test_accepted_records_are_json_and_never_written_over_what_was_handed_in(tmp_path: Path) -> None:
    file = saved(tmp_path / "in", [theirs()]) / "records.json"
    before = file.read_bytes()
    for out, words in ((tmp_path / "out.csv", "ends in .json"), (file, "what is handed in")):
        with pytest.raises(SlonikError, match=words):
            check_submission(file, by="Lab", out=out)
    assert file.read_bytes() == before
    file.write_text(file.read_text().replace('"n": null', '"n": -3'))
    with pytest.raises(SlonikError, match=r"record 0 of .*records.json is not a result record: n: "):
        board(file, out=tmp_path / "site", published=False)


def test_answers_to_rows_of_ones_own_are_shown_row_by_row(tmp_path: Path) -> None:
    folder = saved(tmp_path / "runs", [record("reviews", 0.5, suite="own", model="one")])

    def answers(number: int, labels: str, **changes: Any) -> None:
        lines = [{"idx": n, "text": f"строка {n}", "label": label, "right": "да"} | changes for n, label in
                 enumerate(labels.split())]  # fmt: skip
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (folder / f"{number}.jsonl").write_text(text, encoding="utf-8")
        header = {"suite": "own", "task": "reviews", "items": "i" * 64, "model": "one"}
        (folder / f"{number}.header.json").write_text(json.dumps(header))

    answers(0, "да нет")
    answers(1, "да да")
    (shown,) = content(built(tmp_path, folder).page)[0]["answers"]
    assert shown["models"] == {"one": ["да", "нет"], "one run 2": ["да", "да"]}
    assert shown["gold"] == ["да", "да"] and shown["texts"] == ["строка 0", "строка 1"]
    answers(1, "да да", text="другая")
    with pytest.raises(SlonikError, match="has other rows than"):
        board(folder, out=tmp_path / "again", published=False)
    (folder / "1.jsonl").write_text("{}\n")
    with pytest.raises(SlonikError, match="line 1 has no idx, text, label and right"):
        board(folder, out=tmp_path / "again", published=False)


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, and two baselines' answers to TERRa with the records of both."""
    folder = tmp_path_factory.mktemp("superglue")
    write_data(folder / "data")
    made = russian_superglue(
        ["majority", "tfidf"], data_dir=folder / "data", tasks=["terra"], predictions=folder / "runs", baselines=False,
        published=False,
    )  # fmt: skip
    write_records(folder / "runs" / "records.json", made.records)
    return folder


def test_answers_to_the_same_items_stand_side_by_side(answered: Path, tmp_path: Path) -> None:
    header, _ = content(built(tmp_path, answered / "runs", data_dir=answered / "data").page)
    (found,) = header["answers"]
    assert set(found["models"]) == {"majority", "tfidf"} and found["task"] == "terra"
    assert len(found["gold"]) == len(found["texts"]) == len(found["ids"]) == len(found["models"]["tfidf"])
    assert found["gold"][0] in ("entailment", "not_entailment") and found["licence"].startswith("MIT")
    table = next(one for one in header["tables"] if one["suite"] == "russian_superglue")
    (paired,) = table["paired"]
    assert 0 < paired[-1] <= 1 and any("paired differences" in note for note in table["notes"])
    found = built(tmp_path, answered / "runs", data_dir=tmp_path / "nothing")
    (without,) = content(found.page)[0]["answers"]
    assert without["texts"] is None and without["gold"] is None
    assert any("no right answers and texts" in notice for notice in found.notices)


def test_predictions_of_others_are_scored_on_our_items_or_refused(answered: Path, tmp_path: Path) -> None:
    file = next((answered / "runs").rglob("terra*.jsonl"))
    found = check_submission(file, by="Lab", data_dir=answered / "data", against=[answered / "runs"])
    assert found.confirmed == len(found.records) >= 1 and found.records[0].detail["reported_by"] == "Lab"
    other = write_data(tmp_path / "other")
    path = other / "russian_superglue" / "TERRa" / file.name.replace("terra.", "")
    path.write_text(path.read_text(encoding="utf-8-sig").replace('premise": "', 'premise": "Не '), encoding="utf-8")
    with pytest.raises(SlonikError, match="answers other items"):
        check_submission(file, by="Lab", data_dir=other)
    with pytest.raises(SlonikError, match="no header beside it"):
        bare = tmp_path / "bare.jsonl"
        bare.write_text(file.read_text())
        check_submission(bare, by="Lab", data_dir=answered / "data")


def test_figures_without_a_value_are_told(tmp_path: Path) -> None:
    made = [record("sts", 0.5, model="a"), record("pi", None, model="a"), record("ti", float("nan"), model="a")]
    found = built(tmp_path, saved(tmp_path / "runs", made))
    assert sum("without a value" in notice for notice in found.notices) == 2
    assert set(rows(found.page, "encodechka")["a"]) == {"sts"}


def test_a_checkpoint_that_nothing_was_measured_on_has_its_row_and_page(tmp_path: Path) -> None:
    Passport(name="fresh").with_step(Step(command="pretrain", seconds=5.0)).write(saved(tmp_path / "runs", []))
    header, _ = content(built(tmp_path, tmp_path / "runs").page)
    assert header["tables"][0]["rows"] == [[0, "", "measured", ""]] and header["models"][0]["lineage"]


def test_answers_of_other_suites_are_told(tmp_path: Path) -> None:
    run = saved(tmp_path / "runs", scores("a", 0))
    (run / "own.val.jsonl").write_text('{"idx": 1, "label": "x"}\n')
    (run / "own.val.header.json").write_text('{"suite": "other", "task": "own"}')
    assert any("suite other are not shown" in notice for notice in built(tmp_path, run).notices)
