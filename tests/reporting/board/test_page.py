"""The board in a real browser: sorting, search, filters, columns, links, keyboard, names that are HTML, no request."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from slonik.core.passport import Passport, Step
from slonik.core.records import Record, write_records
from slonik.evaluation.board import board
from slonik.evaluation.russian_superglue.tasks import PROTOCOL
from tests.browser import Browser
from tests.reporting.records import differences, record, resources, scores

pytestmark = pytest.mark.browser
EVIL = '<script>document.title="taken"</script><img src=x onerror=alert(1)>'


def predictions(folder: Path, model: str, labels: list[str]) -> None:
    rows = [{"idx": number, "label": label} for number, label in enumerate(labels)]
    folder.mkdir(parents=True)
    (folder / "terra.val.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    header = {"task": "terra", "protocol": PROTOCOL, "split": "val", "items": "0" * 64, "model": model}
    (folder / "terra.val.header.json").write_text(json.dumps(header | {"n": len(rows)}))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    many = [
        record(task, value := 0.3 + number / 400, model=f"model-{number}", low=value - 0.02, high=value + 0.02)
        for number in range(120)
        for task in ("sts", "pi", "ti")
    ]  # fmt: skip
    found: list[Record] = [*many, *scores("teacher", 0), *differences("small", "teacher"), *resources("teacher", 1.0)]
    found += [record("sts", 0.99, model=EVIL), record("sts", 0.1, model="=cmd()|calc"), *resources("small", 0.2)]
    write_records(folder / "records.json", found)
    passport = Passport(name="small", origin="org/teacher").with_step(
        Step(command="compress", seconds=90, license="MIT")
    )
    passport.with_records(scores("small", 1)).write(folder)
    predictions(folder / "p1", "teacher", ["entailment", "not_entailment", "entailment"])
    predictions(folder / "p2", "small", ["entailment", "entailment", "entailment"])
    out = tmp_path_factory.mktemp("board") / "site"
    return board(folder, out=out, published=False, data_dir=folder).page or out


def opened(browser: Browser, page: Path, state: str = "", **window: Any) -> None:
    browser.open(page.resolve().as_uri() + state, **window)
    browser.wait("window.slonikBoard")


NAMES = "return [...document.querySelectorAll('.grid tbody .who a')].map(one => one.textContent)"
COUNT = "return document.querySelector('.count').textContent"


def click_head(browser: Browser, label: str) -> None:
    browser.run("[...document.querySelectorAll('.grid thead button')].find(b => b.textContent.trim().replace(/[▲▼\u200b]/g, '') === arguments[0]).click()", label)  # fmt: skip  # noqa: E501


def test_it_opens_from_a_file_without_a_request_or_an_error_and_runs_no_name(browser: Browser, page: Path) -> None:
    opened(browser, page, "#t=encodechka-compatible&sort=sts&dir=desc")
    assert browser.run(NAMES)[0] == EVIL and browser.driver.title == "Models side by side"
    browser.run("[...document.querySelectorAll('.who a')][0].click()")
    browser.wait("document.querySelector('h1')")
    assert browser.run("return document.querySelector('h1').textContent") == EVIL
    assert browser.run("return document.querySelectorAll('#app img, #app script').length") == 0
    assert browser.errors() == [] and browser.requests() == [] and browser.driver.title == "Models side by side"
    files = [path.name for path in page.parent.iterdir()]
    assert files == ["index.html"]


def test_only_what_is_in_sight_is_in_the_page_and_heads_and_names_stay(browser: Browser, page: Path) -> None:
    opened(browser, page, "#t=encodechka-compatible")
    assert browser.run(COUNT) == "124 rows" and len(browser.run(NAMES)) < 40
    place = "const r = document.querySelector(arguments[0]).getBoundingClientRect(); return [r.left, r.top]"
    before = browser.run(place, ".grid thead th.name")
    browser.run("const v = document.querySelector('.grid'); v.scrollTop = 3000; v.scrollLeft = 200")
    browser.wait("[...document.querySelectorAll('.grid tbody tr[data-row]')].some(row => row.dataset.row > 60)")
    assert browser.run(place, ".grid thead th.name") == before
    assert browser.run(place, ".grid tbody th.name")[0] == before[0]


def test_sorting_both_ways_what_is_missing_last(browser: Browser, page: Path) -> None:
    opened(browser, page, "#t=encodechka-compatible")
    click_head(browser, "pi")
    assert browser.run(NAMES)[0] == "model-119"
    click_head(browser, "pi")
    assert browser.run(NAMES)[0] == "model-0"
    aria = "return [...document.querySelectorAll('.grid thead th')].map(one => one.getAttribute('aria-sort'))"
    assert browser.run(aria).count("ascending") == 1
    browser.run("document.querySelector('.grid').scrollTop = 1e6")
    browser.wait("document.querySelector('tr[data-row=\"123\"]')")
    last = browser.run(NAMES)[-4:]
    assert set(last) == {"small", "teacher", EVIL, "=cmd()|calc"}
    assert "sort=pi" in browser.run("return location.hash") and "dir=asc" in browser.run("return location.hash")


def test_search_filters_columns_and_the_link_to_them(browser: Browser, page: Path) -> None:
    opened(browser, page, "#t=encodechka-compatible")
    browser.keys("/")
    browser.keys("model-11")
    assert browser.run(COUNT) == "11 of 124 rows"
    address = browser.run("return location.hash")
    opened(browser, page, address)
    assert (
        browser.run(COUNT) == "11 of 124 rows"
        and browser.run("return document.querySelector('#search').value") == "model-11"
    )
    for state, rows in (("max=50", 1), ("min=50", 1), ("lic=MIT", 1), ("who=published", 0), ("eng=torch", 2)):
        browser.run("location.hash = arguments[0]", f"t=encodechka-compatible&{state}")
        browser.wait(f"{COUNT.removeprefix('return ')} === '{rows} of 124 rows'", 5)
    opened(browser, page, "#t=encodechka-compatible&cols=ti:accuracy&cols=sts:accuracy&q=teacher")
    heads = browser.run("return [...document.querySelectorAll('.grid thead button span')].map(one => one.textContent)")
    assert heads == ["model", "sts", "ti"]
    browser.run("[...document.querySelectorAll('.bar button')].find(b => b.textContent === 'Columns').click()")
    browser.run("document.querySelector('.panel input:checked').click()")
    assert browser.run("return document.querySelectorAll('.grid thead th').length") == 2
    opened(browser, page, "#t=encodechka-compatible&sort=nothing&model=nobody")
    told = browser.run("return document.querySelector('[role=alert]').textContent")
    assert "the column nothing" in told and "the model nobody" in told


def test_csv_and_json_are_what_is_seen_and_formulas_are_text(browser: Browser, page: Path) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    opened(browser, page, "#t=encodechka-compatible&cols=sts:accuracy&sort=sts:accuracy&dir=asc")
    rows = list(csv.reader(io.StringIO(browser.run("return slonikBoard.grid.csv()").lstrip("\ufeff"))))
    assert len(rows) == 125 and rows[0][-4:] == ["sts", "sts low", "sts high", "sts rank"]
    assert rows[1][0] == "'=cmd()|calc" and [float(row[6]) for row in rows[1:]] == sorted(
        float(row[6]) for row in rows[1:]
    )
    browser.run("[...document.querySelectorAll('.bar button')].find(b => b.textContent === 'CSV').click()")
    file = browser.downloads / "encodechka-compatible-board.csv"
    WebDriverWait(browser.driver, 10, 0.05).until(lambda _: file.is_file())
    assert file.read_text(encoding="utf-8-sig").startswith("model,qualifier,standing")
    found = json.loads(browser.run("return slonikBoard.grid.json()"))
    assert len(found["rows"]) == 124 and found["rows"][-1]["figures"]["sts:accuracy"]["value"] == 0.99


def test_the_keyboard_does_all_of_it(browser: Browser, page: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    opened(browser, page, "#t=encodechka-compatible")
    browser.run("document.querySelector('.grid').focus()")
    browser.keys(Keys.ARROW_RIGHT, Keys.ENTER)
    way = "return [...document.querySelectorAll('.grid thead th')][1].getAttribute('aria-sort')"
    assert browser.run(way) == "ascending"
    browser.keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.SPACE, Keys.PAGE_DOWN, Keys.SPACE)
    assert browser.run("return document.querySelectorAll('.tray b').length") == 2
    assert browser.run("const v = document.querySelector('.grid'); return v.scrollTop > 0 && !!v.querySelector('.at')")
    wanted = browser.run("return slonikBoard.grid.modelAt(slonikBoard.grid.cursor.row)")
    browser.keys(Keys.ENTER)
    assert browser.run("return document.querySelector('h1').textContent") == wanted
    browser.driver.back()
    browser.wait("document.querySelector('.grid')")
    assert browser.errors() == []


def test_a_models_page_and_two_models(browser: Browser, page: Path) -> None:
    opened(browser, page, "#model=small", dark=True)
    text = browser.run("return document.querySelector('article').textContent")
    for words in ("org/teacher", "compress", "90.0 s", "MIT", "Speed and memory", "All figures", "Score against cost"):
        assert words in text, words
    assert browser.run("return document.querySelectorAll('svg.plot circle').length") == 2
    ground = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(14, 18, 24)"
    opened(browser, page, "#a=small&b=teacher")
    text = browser.run("return document.querySelector('article').textContent")
    assert "1 of 3 items answered differently" in text and "−0.0100" in text
    assert browser.errors() == []


def test_a_phone_shows_it_without_scrolling_the_page(browser: Browser, page: Path) -> None:
    for state in ("#t=encodechka-compatible", "#model=small", "#a=small&b=teacher", "#view=about"):
        opened(browser, page, state, width=390, height=800)
        assert browser.run("return document.documentElement.scrollWidth") <= 390, state
