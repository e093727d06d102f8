"""The inspection page in a browser: words and tokens, special tokens, one head and all, cross-attention, two models."""

from __future__ import annotations

from pathlib import Path

import pytest

from slonik.inspection.one_text import TextQuestions, look_at_text
from slonik.inspection.page import inspection_page
from tests import tiny
from tests.browser import Browser

TEXT = "Слон <i>медленно</i> идёт домой."
_ROWS = "[...document.querySelectorAll('.panel .view svg text[tabindex]')].map((node) => node.textContent)"


@pytest.mark.browser
def test_words_and_tokens_one_head_and_all(browser: Browser, tmp_path: Path) -> None:
    model, other = (str(tiny.checkpoint(tmp_path / name, name)) for name in ("bert", "gpt2"))
    questions = TextQuestions(attention=TEXT, attribution=TEXT, pair="Слон дома.", neighbours=TEXT, texts=tiny.TEXTS)
    records = [*look_at_text(model, questions), *look_at_text(other, questions)]
    page = tmp_path / "page.html"
    page.write_text(inspection_page(model, records), encoding="utf-8")
    browser.open(page, width=1200)
    browser.wait("document.querySelectorAll('.panel .view svg').length === 2")
    first = "(() => { const panel = document.querySelector('.panel'); return "
    words = browser.run(f"return {_ROWS}")
    assert words[:3] == ["Слон", "<", "i"] and "медленно" in words and "[CLS]" not in words
    browser.run("document.getElementById('specials').click()")
    assert browser.run(f"return {_ROWS}")[0] == "[CLS]"
    browser.run("document.getElementById('words').click()")
    assert any(token.startswith("##") for token in browser.run(f"return {_ROWS}"))
    browser.run("document.querySelector('.panel .all').click()")
    heads = first + "panel.querySelectorAll('.heads button').length })()"
    assert browser.run(f"return {heads}") == 2 * 4
    browser.run("document.querySelectorAll('.panel .heads button')[5].click()")
    assert browser.run("return document.querySelector('.panel .which').textContent") == "layer 2 of 2, head 1"
    browser.run("document.querySelector('.panel .view svg text[tabindex]').dispatchEvent(new Event('click'))")
    assert "from [CLS]" in browser.run("return document.querySelector('.panel .which').textContent")
    assert browser.run("return document.querySelectorAll('.coloured').length") == 2 * 4
    assert browser.run("return document.querySelectorAll('#neighbours li').length") == 2 * 5
    assert browser.run("return document.documentElement.scrollWidth") <= 1200
    assert browser.errors() == [] and browser.requests() == []


@pytest.mark.browser
def test_cross_attention_and_a_row_spread_over_many_tokens(browser: Browser, tmp_path: Path) -> None:
    model = str(tiny.checkpoint(tmp_path / "t5", "t5"))
    long = "слон и дом " * 30
    page = tmp_path / "page.html"
    page.write_text(
        inspection_page(model, look_at_text(model, TextQuestions(attention=long, target="Слон дома"))), encoding="utf-8"
    )
    browser.open(page, width=1200)
    browser.wait("document.querySelectorAll('.panel select option').length === 3")
    browser.run("document.getElementById('words').click()")
    assert browser.run("return document.querySelectorAll('.matrix canvas').length") == 1
    # every row has a line at full strength, however its weights are spread
    strongest = """
    const lines = [...document.querySelectorAll('.view svg line')], best = {};
    for (const line of lines) best[line.getAttribute('y1')] = Math.max(best[line.getAttribute('y1')] || 0,
      +line.getAttribute('stroke-opacity'));
    return [Object.keys(best).length, Math.min(...Object.values(best)), lines.length]"""
    rows, least, count = browser.run(strongest)
    assert rows == len(browser.run(f"return {_ROWS}")) > 40
    assert least > 0.5 and count < 4 * rows
    browser.run("document.getElementById('words').click()")
    browser.run(
        "const s = document.querySelector('.panel select'); s.value = '2'; s.dispatchEvent(new Event('change'))"
    )
    assert browser.run(f"return {_ROWS}") == ["Слон", "дома"]
    assert browser.errors() == []
