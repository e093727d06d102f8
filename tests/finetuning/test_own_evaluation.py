"""`evaluate own`: the figures of fine-tuning again, models of other label orders, baselines, curves, a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from slonik.core.errors import SlonikError
from slonik.core.records import write_records
from slonik.evaluation.board import board
from slonik.finetuning.finetune import finetune
from slonik.finetuning.own_evaluation import evaluate_own
from tests import tiny
from tests.finetuning.finetune_data import NAMES, PLACES, write_lines, writing_model

FAST: dict[str, Any] = {
    "seeds": 1, "set": {"tuning.batch_texts": 8, "tuning.layer_decay": 1.0, "tuning.precision": "fp32"},
    "learning_rate": 3e-3, "max_length": 32, "epochs": 3,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("measured")
    tiny.checkpoint(root / "bert", "bert")
    writing_model(root, "t5")
    words = ("точно", "никогда", "иногда")
    rows = [
        {"text": f"{NAMES[n % 12]} в {PLACES[n % 7]} {words[n % 3]} <script>", "label": words[n % 3], "mark": n % 3}
        for n in range(72)
    ]
    write_lines(root / "train.jsonl", rows[:48])
    write_lines(root / "valid.jsonl", rows[48:])
    finetune(root / "bert", root / "train.jsonl", valid=root / "valid.jsonl", out=root / "model", **FAST)
    return root


def figures(found: Any, model: str) -> dict[str, float]:
    return {one.metric: one.value for one in found.records if one.model == model and not one.variant}


def test_figures_are_those_of_fine_tuning_with_differences_labels_and_confusions(folder: Path) -> None:
    models = [str(folder / "model"), "tfidf"]
    found = evaluate_own(folder / "valid.jsonl", models, train=folder / "train.jsonl")
    own = figures(found, models[0])
    saved = json.loads((folder / "model" / "results.json").read_text(encoding="utf-8"))
    before = {one["metric"]: one["value"] for one in saved if one["model"] == str(folder / "bert")}
    assert own["accuracy"] == pytest.approx(before["accuracy"]) and own["macro_f1"] == pytest.approx(before["macro_f1"])
    assert 0 <= own["ece"] <= 1 and {one.model for one in found.records} >= {"tfidf", "majority"}
    change = next(
        one for one in found.records if one.model == f"{models[0]} - tfidf" and one.metric == "accuracy_difference"
    )
    assert change.value == pytest.approx(own["accuracy"] - figures(found, "tfidf")["accuracy"])
    per_label, matrix = found.tables[-2:]
    assert [row.cells[0].text for row in per_label.rows] == ["иногда", "никогда", "точно"]
    counts = [[int(cell.text.replace("·", "0")) for cell in row.cells[1:]] for row in matrix.rows]
    assert sum(map(sum, counts)) == 24 and [sum(row) for row in counts] == [8, 8, 8]
    assert sum(counts[n][n] for n in range(3)) / 24 == pytest.approx(own["accuracy"])


def test_an_encoder_without_a_head_is_fitted_and_has_a_learning_curve(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "errors.html"
    models = [str(folder / "bert"), str(folder / "model")]
    found = evaluate_own(folder / "valid.jsonl", models, train=folder / "train.jsonl", curve=[6, 48, 100], page=page)
    sizes = {one.detail["training_rows"] for one in found.records if one.variant and one.model == models[0]}
    assert sizes == {6, 48}
    whole = next(one for one in found.records if one.variant == "48 rows" and one.model == models[0])
    assert whole.value == pytest.approx(figures(found, models[0])["accuracy"])
    text = page.read_text(encoding="utf-8")
    data = json.loads(text.split('id="data">')[1].split("</script>")[0])
    assert len(data["rows"]) == 24 and data["models"][:2] == models and "<script>" not in json.dumps(data["rows"])[:0]
    wrong = sum(not row["answers"][1]["right"] for row in data["rows"])
    assert 1 - wrong / 24 == pytest.approx(figures(found, models[1])["accuracy"])
    assert text.count("<script>") == 1  # the page's own; those of texts are data
    assert "Learning curve" in text and found.page == page
    assert any("100 rows were asked for, and there are 48" in one for one in found.warnings)
    assert any(f"{models[1]} learned before and has none" in one for one in found.warnings)


def test_an_encoder_without_a_head_says_what_it_cut(folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "valid.jsonl").read_text(encoding="utf-8").splitlines()]
    long = [{**row, "text": row["text"] + " слон" * 2_000} if n < 3 else row for n, row in enumerate(rows)]
    found = evaluate_own(long, str(folder / "bert"), train=folder / "train.jsonl")
    (told,) = [one for one in found.warnings if "were cut" in one]
    assert told.startswith(f"{folder / 'bert'}: 3 of 72 texts") and "longer than the 64 tokens" in told
    whole = evaluate_own(rows, str(folder / "bert"), train=folder / "train.jsonl")
    assert not any("were cut" in one for one in whole.warnings)


def test_two_models_are_held_against_each_other_row_by_row(folder: Path, tmp_path: Path) -> None:
    """What the table, McNemar's test and the board say is what the answers say."""
    models = [str(folder / "model"), str(folder / "bert")]
    found = evaluate_own(folder / "valid.jsonl", models, train=folder / "train.jsonl", predictions=tmp_path / "answers")
    kept = [json.loads(path.read_text()) for path in sorted((tmp_path / "answers").glob("*.header.json"))]
    assert [one["model"] for one in kept][:2] == models and len({one["items"] for one in kept}) == 1
    files = sorted((tmp_path / "answers").glob("*.jsonl"))
    lines = [[json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] for path in files[:2]]
    right = [[line["label"] == line["right"] for line in one] for one in lines]
    first = sum(a and not b for a, b in zip(*right, strict=True))
    second = sum(b and not a for a, b in zip(*right, strict=True))
    change = next(one for one in found.records if one.model == f"{models[1]} - {models[0]}"
                  and one.metric == "accuracy_difference")  # fmt: skip
    assert change.value == pytest.approx((second - first) / 24)
    told = change.detail["mcnemar"]
    assert (told["only_model"], told["only_against"]) == (second, first)
    table = next(one for one in found.tables if one.title.endswith("rows that change"))
    assert [row.cells[-1].text for row in table.rows] == (["worse"] * first + ["better"] * second)[:20]
    records = tmp_path / "records.json"
    write_records(records, found.records)
    board([records, tmp_path / "answers"], out=tmp_path / "site", published=False)
    assert "row by row" not in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")


def test_few_rows_unknown_labels_and_none_are_said(folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "valid.jsonl").read_text(encoding="utf-8").splitlines()]
    told = str(evaluate_own(rows[:2], str(folder / "model")))
    assert "measured on 2 items alone" in told
    assert "items alone" not in str(evaluate_own(rows * 2, str(folder / "model")))
    spoilt = [{**row, "label": "редко"} if n < 3 else row for n, row in enumerate(rows)]
    spoilt[5] = {**spoilt[5], "text": "слон идёт домой " * 40}
    found = evaluate_own(spoilt, str(folder / "model"))
    assert any("3 labels of the 24 rows are none that" in one and "'редко' (3)" in one for one in found.warnings)
    assert any("rows are longer than the 32 tokens that" in one for one in found.warnings), found.warnings
    for null in ("", None):
        with pytest.raises(SlonikError, match=r"'label' is null.* in 1 of 3 rows .*: fill it in, or remove the rows"):
            evaluate_own([*rows[:2], {**rows[2], "label": null}], str(folder / "model"))


def test_numbers_and_texts_are_measured_too(folder: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (folder / "valid.jsonl").read_text(encoding="utf-8").splitlines()]
    trained = finetune(
        folder / "bert",
        folder / "train.jsonl",
        valid=rows,
        kind="regression",
        label_column="mark",
        out=tmp_path / "n",
        **FAST,
    )
    found = evaluate_own(rows, str(tmp_path / "n"), train=folder / "train.jsonl", page=tmp_path / "n.html")
    own = figures(found, str(tmp_path / "n"))
    before = {one.metric: one.value for one in trained.records if one.model == str(folder / "bert")}
    assert own["mae"] == pytest.approx(before["mae"], rel=1e-3) and "tfidf" in {one.model for one in found.records}
    settings = {**FAST, "set": {"tuning.max_steps": 1}}
    finetune(folder / "t5", folder / "train.jsonl", valid=rows, kind="text2text", out=tmp_path / "t", **settings)
    found = evaluate_own(rows, str(tmp_path / "t"), page=tmp_path / "t.html")
    assert {"rouge_l", "rouge_1", "rouge_2", "chrf", "bleu", "f1", "em"} <= set(figures(found, str(tmp_path / "t")))


@pytest.mark.parametrize(
    ("models", "options", "sentence"),
    [
        (["bert"], {}, "give --train FILE"),
        (["model"], {"label_column": "labl"}, "did you mean 'label'"),
        (["model"], {"label_column": "mark"}, "rows of another task"),
        (["model"], {"curve": [8]}, "give --train FILE"),
        (["model"], {"kind": "regression"}, "one kind of task"),
    ],
)
def test_what_cannot_be_measured_is_refused(folder: Path, models: list[str], options: Any, sentence: str) -> None:
    with pytest.raises(SlonikError, match=sentence):
        evaluate_own(folder / "valid.jsonl", [str(folder / name) for name in models], **options)


@pytest.mark.browser
def test_the_page_of_errors_filters_rows_without_an_error_or_a_request(
    folder: Path, tmp_path: Path, browser: Any
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import Select

    page = tmp_path / "errors.html"
    found = evaluate_own(folder / "valid.jsonl", str(folder / "model"), train=folder / "train.jsonl", page=page)
    browser.open(page)
    assert browser.errors() == [] and browser.requests() == []
    right = figures(found, str(folder / "model"))["accuracy"]
    count = browser.driver.find_element(By.ID, "count")
    assert count.text == f"{round(24 * (1 - right))} of 24 rows"
    Select(browser.driver.find_element(By.ID, "show")).select_by_value("all")
    assert len(browser.driver.find_elements(By.CSS_SELECTOR, "#rows tr")) == 24
    assert "<script>" in browser.driver.find_element(By.CSS_SELECTOR, "#rows td.words").text
    Select(browser.driver.find_element(By.ID, "label")).select_by_value("точно")
    assert count.text == "8 of 24 rows"
    browser.driver.find_element(By.ID, "search").send_keys("нет такого")
    assert count.text == "0 of 24 rows" and browser.errors() == []
