"""Dirty rows are found before any work, and rare labels are learned from."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slonik.core.errors import SlonikError
from slonik.data.labelled import read_rows, read_table
from slonik.evaluation.russian_superglue.parts import Part
from slonik.evaluation.russian_superglue.tasks import TASKS, Example
from slonik.finetuning.config import FinetuneRecipe
from slonik.finetuning.data_check import CheckedRows, Finding, canonical_labels, check_rows
from slonik.finetuning.encoder_learner import EncoderLearner
from slonik.finetuning.items import Item, fold_items, split_items
from slonik.finetuning.own import OwnTask, read_own
from slonik.finetuning.own_rows import comma_warning, label_number
from slonik.finetuning.superglue import shared_texts
from slonik.models import load
from slonik.text.pairs import TaskInput
from tests import tiny


def item(number: int, label: int, group: str = "") -> Item:
    return Item(number, TaskInput((("а",),)), label, group or f"g{number}")


def test_numbers_are_told_apart_by_their_last_digit_and_commas_are_said() -> None:
    long = ["12345678901234567890", "12345678901234567891", "1", "1.0", "1,00"]
    read = canonical_labels(long)
    assert len({read[label] for label in long}) == 3 and read["1,00"] == "1"
    (told,) = comma_warning(["1,5", "1,000", 2, None], "the data")
    assert told == "the data: 2 of 3 numbers have a comma, which is read as a decimal one ('1,000' is 1.000)"
    assert comma_warning([1, "2.5"], "the data") == []
    for odd in ("1_000", "1 000", "nan", "inf", ""):
        with pytest.raises(SlonikError, match="is not a number"):
            label_number(odd, "row 1")


def test_rare_labels_are_all_learned_from_and_no_measured_label_is_unknown() -> None:
    # 740 rows, 70 of 100 labels with two rows: none of the rare ones was ever learned
    labels = [n % 30 for n in range(600)] + [30 + n // 2 for n in range(140)]
    items = [item(n, label) for n, label in enumerate(labels)]
    for seed in range(5):
        out, kept = split_items(items, [0.2, 0.8], seed, learned=1)
        stop, fit = split_items([items[n] for n in kept], [0.12, 0.88], seed, learned=1)
        learned = {items[kept[n]].label for n in fit}
        assert learned == set(labels)
        assert 100 < len(out) < 160 and len(stop) > 30
        assert all(counts >= 2 for counts in Counter(items[kept[n]].label for n in fit).values())
    alone = [item(n, n) for n in range(40)]
    out, kept = split_items(alone, [0.2, 0.8], 0, learned=1)
    assert len(out) == 0 and len(kept) == 40


def test_a_group_with_a_rare_label_goes_whole_and_three_rows_leave_two() -> None:
    items = [item(n, n % 2) for n in range(40)] + [item(40 + n, 2, "one text") for n in range(5)]
    items += [item(50, 3, "pair"), item(51, 0, "pair")] + [item(60 + n, 4) for n in range(3)]
    for seed in range(10):
        _, kept = split_items(items, [0.3, 0.7], seed, learned=1)
        inside = {items[n].key for n in kept}
        assert {40, 41, 42, 43, 44, 50, 51} <= inside and sum(key in inside for key in (60, 61, 62)) >= 2
    kept, folds = fold_items(items, 3, 0)
    measured = sorted(items[n].key for part in folds for n in part)
    assert not set(measured) & {40, 41, 42, 43, 44, 50, 51} and len(set(measured)) == len(measured) == 43
    several = [
        Item(n, TaskInput((("а",),)), [], f"g{n}", names=("а", "редкая") if n == 7 else ("а",)) for n in range(30)
    ]
    assert all(7 in split_items(several, [0.5, 0.5], seed, learned=1)[1] for seed in range(8))


def rows_of(texts: list[Any], labels: list[str], name: str = "train") -> CheckedRows:
    pairs = [(text,) if isinstance(text, str) else text for text in texts]
    return CheckedRows(name, pairs, [(label,) for label in labels], list(range(1, len(texts) + 1)))


def found(findings: list[Finding]) -> dict[str, tuple[int, str]]:
    return {one.what: (one.count, one.example) for one in findings}


def test_every_kind_of_dirt_has_a_count_an_example_and_what_is_done() -> None:
    texts = [
        "Хорошо сделано",
        "",
        "nan",
        "Плохо",
        "плохо ",
        "только english here is",
        "12345",
        "Р—РґСЂР°РІСЃС‚РІСѓР№",
        "Вот &quot;так&quot;",
    ]
    labels = ["1", "1.0", "1", "0", "1", " 0", "1", "Неважно", "неважно"]
    spelled = canonical_labels(labels)
    assert spelled["1.0"] == "1" and spelled[" 0"] == "0" and spelled["Неважно"] == "Неважно"
    assert (
        canonical_labels(["1.0", "2.0"]) == {"1.0": "1.0", "2.0": "2.0"} and canonical_labels(["01", "1"])["01"] == "01"
    )
    seen = check_rows(rows_of(texts, labels), spelled=spelled, too_long=lambda one: len(one[0]) > 20)
    told = found(seen)
    assert told["rows have no text at all"] == (1, "train, row 2: ''")
    assert told["rows have a text that says a value is missing"][0] == 1
    assert told["rows have a text without a letter"] == (1, "train, row 7: '12345'")
    assert told["rows have white space around a text"] == (1, "train, row 5: 'плохо '")
    assert told["rows have a damaged text (wrong encoding, HTML)"][0] == 2
    assert told["rows are in Latin letters, most are in Cyrillic"][0] == 3
    assert told["rows are longer than the model reads"][0] == 1
    assert told["labels are '1.0', another spelling of a number"][0] == 1
    assert told["labels are ' 0', with white space around it"][0] == 1
    assert told["labels are nearly equal to another"] == (2, "'Неважно' (1) and 'неважно' (1)")
    assert told["rows repeat another"] == (1, "train, row 5: 'плохо '")
    assert "is 0, in row 5 1" in told["rows have the text of another and another label"][1]
    assert all(one.done and one.count <= one.among for one in seen)
    assert not check_rows(rows_of(["Хорошо", "Скверно"], ["да", "нет"]))


@pytest.mark.parametrize(
    ("first", "second", "near"),
    [("ёлка", "елка", True), ("cпорт", "спорт", True), ("наука-техника", "наука техника", True),
     ("положительный", "положительныи", True), ("важно", "неважно", False), ("класс 1", "класс 2", False),
     ("positive", "negative", False), ("да", "на", False)],
)  # fmt: skip
def test_near_labels(first: str, second: str, near: bool) -> None:
    texts = ["Один дом", "Два дома"]
    assert ("labels are nearly equal to another" in found(check_rows(rows_of(texts, [first, second])))) is near


def test_overlap_of_training_and_measured_rows_is_counted_whole_and_by_column() -> None:
    train = rows_of([("Снег шёл", "Было сыро"), ("Кот спит", "")], ["а", "б"])
    valid = rows_of([("снег  шёл", "было сыро"), ("Кот спит", "Кот жив"), ("Дом", "Лес")], ["а", "б", "а"], "valid")
    told = found(check_rows(train, valid))
    assert told["rows to measure on are in the training data too"] == (1, "valid, row 1: 'снег  шёл | было сыро'")
    assert told["rows to measure on share text 1 with the training data"] == (1, "valid, row 2: 'Кот спит'")
    assert told["rows have one of two texts empty"] == (1, "train, row 2: 'Кот спит'")


@pytest.fixture(scope="module")
def learner(tmp_path_factory: pytest.TempPathFactory) -> EncoderLearner:
    return EncoderLearner(load(tiny.checkpoint(tmp_path_factory.mktemp("learner") / "bert", "bert")))


def own(learner: EncoderLearner, rows: list[dict[str, Any]], valid: Any = None, **fields: Any) -> OwnTask:
    recipe = {name: fields.pop(name) for name in ("folds", "held_out") if name in fields}
    given = FinetuneRecipe.model_validate({"model": "m", "out": "o", "own": {"train": "строки", **fields}, **recipe})
    assert given.own is not None
    return read_own(given, given.own, learner, rows, valid)


def test_null_labels_are_counted_and_named_as_such_or_left_out(learner: EncoderLearner) -> None:
    rows: list[dict[str, Any]] = [{"text": f"Дом {n}", "label": "да" if n % 2 else "нет"} for n in range(20)]
    for null in (None, "", "  ", float("nan")):
        dirty = [*rows, {"text": "Лес", "label": null}, {"text": "Сад", "label": None}]
        with pytest.raises(SlonikError, match=r"строки, row 21: 'label' is null.* 2 of 22 rows .*Лес"):
            own(learner, dirty)
        task = own(learner, dirty, unlabelled="leave_out")
        assert len(task.fit) + len(task.measured) == 20 and "2 of 22 rows" in task.warnings[0]
    with pytest.raises(SlonikError, match="did you mean 'label'"):
        own(learner, rows, label_column="labl")
    with pytest.raises(SlonikError, match="'text' is null"):
        own(learner, [*rows, {"text": None, "label": "да"}])
    for odd, words in ((["да"], "a list: give --kind multilabel"), ({"да": 1}, "an object")):
        with pytest.raises(SlonikError, match=rf"строки, row 21: 'label' is .*, {words}"):
            own(learner, [*rows, {"text": "Лес", "label": odd}])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("multilabel", "labels as one text"),
        ("regression", "numbers are written as texts"),
        ("qa", "the two text columns"),
    ],
)
def test_what_models_that_answer_in_words_do_not_take_is_refused_with_what_they_do(kind: str, words: str) -> None:
    writer: Any = SimpleNamespace(in_words=True)
    with pytest.raises(SlonikError, match=f"not {kind}: .*{words}.*or take an encoder"):
        own(writer, [{"text": "Дом", "label": "да"}], kind=kind)


def test_rare_labels_are_named_and_forty_labels_of_forty_texts_are_no_lie(learner: EncoderLearner) -> None:
    rows = [{"text": f"Текст номер {n}", "label": str(n % 2)} for n in range(30)] + [
        {"text": "Один", "label": "редкая"}
    ]
    task = own(learner, rows)
    assert any("'редкая' (1)" in sentence for sentence in task.warnings) and 30 in {item.key for item in task.fit}
    each = [{"text": f"Текст номер {n}", "label": f"л{n}"} for n in range(40)]
    with pytest.raises(SlonikError, match="every label has 2 rows or fewer"):
        own(learner, each)
    assert len(own(learner, each, each).fit) == 40
    with pytest.raises(SlonikError, match="all of one text"):
        own(learner, [{"text": "Один", "label": str(n % 2)} for n in range(30)])
    folds = own(learner, rows, folds=3)
    assert len(folds.folds) == 3 and sorted(item.key for item in folds.measured) == list(range(30))
    assert all(30 in {item.key for item in fold.fit} for fold in folds.folds)
    assert set(folds.baselines()["majority"]) == {"accuracy", "macro_f1"}


def test_labels_are_read_in_one_spelling_here_and_in_the_measured_file(learner: EncoderLearner) -> None:
    rows = [{"text": f"Дом {n}", "label": ["1", "1.0", " 0", "0"][n % 4]} for n in range(40)]
    task = own(learner, rows, [{"text": "Лес", "label": 1.0}, {"text": "Сад", "label": "0 "}])
    assert task.config.labels == ("0", "1") and [item.label for item in task.measured] == [1, 0]
    grouped = [{"text": f"Дом {n}", "label": str(n % 2), "author": f"а{n // 8}"} for n in range(40)]
    authors = own(learner, grouped, group_column="author")
    sides = [{grouped[int(one.key)]["author"] for one in side} for side in (authors.fit, authors.measured)]
    assert not sides[0] & sides[1]


@pytest.mark.parametrize("encoding", ["cp1251", "utf-8", "utf-8-sig", "utf-16", "koi8-r"])
def test_tables_of_office_programs_are_read(tmp_path: Path, encoding: str) -> None:
    lines = (
        'Текст;Метка\n"Очень хорошо, сделано; с толком\nи расстановкой";да\nПлохо, не берите это никому и никогда;нет\n'
    )
    path = tmp_path / "т.csv"
    path.write_bytes(lines.encode(encoding))
    rows = read_rows(path, ("Текст", "Метка"))
    assert rows[0] == {"Текст": "Очень хорошо, сделано; с толком\nи расстановкой", "Метка": "да"} and len(rows) == 2
    assert read_table(path).separator == ";" and read_table(path).encoding.replace("_", "-") == encoding


@pytest.mark.parametrize("above", ["sep=;\r\n", "\r\n\n", "\n\nSEP=;\n\n"])
def test_lines_above_the_header_of_a_table_are_known_and_counted(tmp_path: Path, above: str) -> None:
    path = tmp_path / "т.csv"
    path.write_bytes(f"{above}text;label\r\nа, б;да\r\n".encode())
    assert read_rows(path, ("text", "label")) == [{"text": "а, б", "label": "да"}]
    (line,) = read_table(path).lines
    assert line == above.count("\n") + 2
    path.write_bytes(f"{above}text;label\r\nа;да;в\r\n".encode())
    with pytest.raises(SlonikError, match=f"line {line}: more cells"):
        read_rows(path, ("text",))


def test_tables_that_are_wrong_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,text\nа,б\n", encoding="utf-8")
    with pytest.raises(SlonikError, match="two columns 'text'"):
        read_rows(tmp_path / "a.csv", ("text",))
    (tmp_path / "b.csv").write_text("text,label\nа\n", encoding="utf-8")
    with pytest.raises(SlonikError, match="'label' is null"):
        read_rows(tmp_path / "b.csv", ("text", "label"))
    (tmp_path / "c.csv").write_text("a;b,c\n1;2,3\n", encoding="utf-8")
    assert read_rows(tmp_path / "c.csv", ("b,c",)) == [{"a": "1", "b,c": "2,3"}]
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table({"text": ["а"], "label": [1]}), tmp_path / "t.parquet")
    assert read_rows(tmp_path / "t.parquet", ("text", "label")) == [{"text": "а", "label": 1}]
    (tmp_path / "j.jsonl").write_text(json.dumps({"text": "а", "label": None}) + "\n", encoding="utf-8")
    with pytest.raises(SlonikError, match="line 1: 'label' is null"):
        read_rows(tmp_path / "j.jsonl", ("text", "label"))


def test_official_items_that_share_a_text_with_the_training_data_are_counted() -> None:
    def example(number: int, premise: str) -> Example:
        return Example(number, {"premise": premise, "hypothesis": "Сыро."}, "entailment", (), str(number), str(number))

    train = (example(0, "Снег идёт."), example(1, "Кот спит."))
    measured = (example(0, "снег  идёт."), example(1, "Дом стоит."))
    part = Part(TASKS["terra"], "val", Path("val.jsonl"), measured, train)
    assert shared_texts(part).startswith("terra: 1 of 2 items of val share their premise")
    assert shared_texts(replace(part, train=None)) == "" and shared_texts(replace(part, examples=measured[1:])) == ""
