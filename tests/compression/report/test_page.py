"""The report of one compression: metrics, differences, one page that loads nothing and runs nothing."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from slonik.compression.report.curve import CurvePoint
from slonik.compression.report.page import CompressionFacts, compression_page, compression_tables
from slonik.core.passport import Step
from slonik.reporting import plots
from tests.reporting.records import differences, published, resources, scores

NASTY = '<script>alert("1")</script> & $x_1$'
VOID = {"meta", "br", "wbr", "img", "link", "input", "hr"}


class Checker(HTMLParser):
    """Checks that tags are balanced and collects what could load or run something."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.dangerous: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "link", "iframe", "object", "embed", "form"):
            self.dangerous.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            outside = name in ("src", "href", "xlink:href") and not (value or "").startswith(("#", "data:"))
            if outside or name.startswith("on"):
                self.dangerous.append(f"{tag} {name}={value}")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data


def facts(**more: object) -> CompressionFacts:
    given: dict[str, object] = {
        "before": "teacher", "after": NASTY, "lineage": [Step(command=NASTY, inputs={"corpus": "ab" * 32}, seconds=61)],
        "seconds": {"distill": 3600.0}, "commands": ["slonik compress teacher --out 'a & b'"], "usage": "import slonik",
        "trimming": {
            "pieces_before": 250002, "pieces_after": 37835,
            "held_out": {
                "all": {"texts": 100, "identical": 95, "tokens_before": 1000, "tokens_after": 1007,
                        "unknown_before": 0, "unknown_after": 1}
            },
        },
        "curve": [CurvePoint(60.0 * i, {"agreement": 1 - 0.2 / i, "loss": 3.0 / i}) for i in range(1, 12)],
        "notes": [NASTY], "published": published(),
    }  # fmt: skip
    return CompressionFacts(**{**given, **more})  # type: ignore[arg-type]


def html(**more: object) -> str:
    before = [*scores("teacher", 0), *resources("teacher", 1.0)]
    after = [*scores(NASTY, 1), *resources(NASTY, 0.2)]
    return compression_page(before, after, facts(**more), differences=differences(NASTY, "teacher"))


def test_page_is_whole_and_loads_and_runs_nothing() -> None:
    text = html()
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert checker.dangerous == []
    assert len(checker.ids) == len(set(checker.ids))
    assert "://" not in re.sub(r"http://www\.w3\.org/\S+", "", text)
    assert "default-src 'none'" in text
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 3


def test_page_tells_what_was_gained_and_what_it_cost() -> None:
    checker = Checker()
    checker.feed(html())
    text = checker.text
    assert "5.00 times fewer parameters" in text and "5.00 times faster at batch 1" in text
    assert "mean_s5 (encodechka, compatible) went from 0.7845 to 0.7800, −0.0045 [−0.0065, −0.0025]" in text
    for words in ("470\u2009MB", "FLOPs", "texts per second", "peak memory", "95.0\u2009%", "+0.70 %", "37,835 after"):
        assert words in text, words
    assert "cointegrated/rubert-tiny2 (published)" in text.replace("\u200b", "")
    assert "slonik compress teacher --out 'a & b'" in text
    assert "half of the gap" in text
    assert "prefers-color-scheme: dark" in text and "width=device-width" in html()


def test_same_records_same_page(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    records = scores("a", 0), scores("b", 1)
    text = compression_page(*records, facts(), path=path)
    assert path.read_text(encoding="utf-8") == text == compression_page(*records, facts())


def test_tables_for_the_terminal_have_the_same_metrics() -> None:
    before, after = [*scores("t", 0), *resources("t", 1.0)], [*scores("s", 1), *resources("s", 0.2)]
    costs, quality, vocabulary = compression_tables(before, after, facts(), differences("s", "t"))
    assert [row.cells[3].text for row in costs.rows if row.cells[0].text == "parameters"] == ["5.00× less"]
    rate = next(row for row in costs.rows if row.cells[0].text == "texts per second")
    assert rate.cells[3].text == "5.00× more" and rate.cells[3].mark == "better"
    assert [row.cells[3].mark for row in quality.rows] == ["worse", "", "worse"]
    assert vocabulary.rows[0].cells[1].text.startswith("95.0")


def test_growth_is_marked_as_worse_and_missing_metrics_are_gaps() -> None:
    costs = compression_tables(resources("t", 1.0), resources("s", 2.0), facts())[0]
    assert {row.cells[3].mark for row in costs.rows} == {"worse"}
    without = compression_tables(scores("t", 0), scores("s", 1)[:1], facts(trimming=None))[0]
    assert [row.cells[2].text for row in without.rows] == ["0.8100", "–", "–"]
    # without paired records the difference has no interval and no colour
    assert (without.rows[0].cells[3].text, without.rows[0].cells[3].spread) == ("−0.0100", "")
    assert without.rows[0].cells[3].mark == ""


def test_page_without_matplotlib_is_still_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots.importlib.util, "find_spec", lambda name: None)
    text = html()
    assert "<svg" not in text and "Size, speed and memory" in text


def test_nothing_measured_is_no_crash() -> None:
    text = compression_page([], [], CompressionFacts("a", "b"))
    assert "Nothing became smaller" in text
