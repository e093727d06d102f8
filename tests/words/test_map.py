"""Maps: the plane is PCA's, notes tell what it keeps, the page holds what it shows and works in a browser."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA

from slonik.cli.main import main
from slonik.core.errors import SlonikError
from slonik.models.word_vectors import WordVectors
from slonik.words.map import draw_map, kept_neighbours, principal_plane
from tests import tiny
from tests.browser import Browser

WORDS = tuple(f"слово{number}" for number in range(40))
VECTORS = WordVectors("игрушка", WORDS, np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32))


def _data(path: Path) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(encoding="utf-8"))
    assert found is not None
    return json.loads(found.group(1))


def test_the_plane_is_that_of_principal_components() -> None:
    rows = np.random.default_rng(1).standard_normal((50, 7)).astype(np.float32)
    plane, explained = principal_plane(rows)
    theirs = PCA(2).fit(rows)
    np.testing.assert_allclose(np.abs(plane), np.abs(theirs.transform(rows)), atol=1e-4)
    assert explained == pytest.approx(theirs.explained_variance_ratio_.sum(), abs=1e-5)


def test_kept_neighbours_are_all_on_a_true_plane_and_few_on_another() -> None:
    rng = np.random.default_rng(2)
    angles = rng.random(200) * 2 * np.pi
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert kept_neighbours(circle.astype(np.float32), circle) == 1.0
    assert (kept_neighbours(circle.astype(np.float32), rng.random((200, 2))) or 0) < 0.2


def test_the_page_holds_texts_places_and_true_neighbours(tmp_path: Path) -> None:
    page = tmp_path / "map.html"
    found = draw_map(VECTORS, html=page)
    data = _data(page)
    assert data["texts"] == list(WORDS) == list(found.texts)
    places = np.frombuffer(base64.b64decode(str(data["places"])), "<u2").reshape(-1, 2) / 65535
    np.testing.assert_allclose(places, found.places, atol=1e-4)
    near = np.frombuffer(base64.b64decode(str(data["near"])), "<u4").reshape(40, 10)
    cosines = VECTORS.unit @ VECTORS.unit.T - 2 * np.eye(40)
    np.testing.assert_array_equal(near, np.argsort(-cosines, axis=1)[:, :10])
    assert {record.metric for record in found.records} == {"explained_variance", "kept_neighbours"}
    assert "variance" in page.read_text(encoding="utf-8")


def test_sentences_with_what_colours_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(tiny.checkpoint(tmp_path / "model", "bert"))
    file, page = tmp_path / "texts.tsv", tmp_path / "map.html"
    lines = [f"{text}\t{'<b>' if number % 2 else 'да'}" for number, text in enumerate(tiny.TEXTS[:9])]
    file.write_text("\n".join([*lines, lines[0], ""]), encoding="utf-8")
    with pytest.raises(SystemExit) as exit_:
        main(["map", model, str(file), "--html", str(page), "--layer", "1"])
    assert exit_.value.code == 0
    assert "1 texts stood there twice" in capsys.readouterr().out
    data = _data(page)
    assert data["groups"] == ["да", "<b>"] and data["group"] == [0, 1, 0, 1, 0, 1, 0, 1, 0]
    whole = page.read_text(encoding="utf-8")
    assert "<b>" not in whole.replace('<b id="count" role="status">', "") and "http" not in whole.replace(
        "http-equiv", ""
    )


def test_mistakes_are_sentences_and_write_nothing(tmp_path: Path) -> None:
    page, empty = tmp_path / "map.html", tmp_path / "empty.txt"
    empty.write_text("\n", encoding="utf-8")
    model = str(tiny.checkpoint(tmp_path / "model", "bert"))
    for arguments, options, sentence in (
        ((VECTORS,), {"method": "tsne"}, "use pca or umap"),
        ((VECTORS,), {"limit": 2}, "3 points at least"),
        ((VECTORS,), {"layer": 1}, "no layers"),
        ((VECTORS,), {"seed": 1}, "--seed is of umap"),
        ((VECTORS, ["слово1", "слово1", "слово2"]), {}, "2 different points"),
        ((VECTORS, ["кит", "кот", "крот"]), {}, "has a vector of none"),
        ((VECTORS,), {"prefix": "query: "}, "--prefix"),
        ((model, empty), {}, "no text"),
        ((model, ["а", "б", "в"]), {"layer": 9}, "no layer 9"),
        ((model, ["а", "б", "в"]), {"labels": ["1"]}, "give one for each"),
        (("hashing_300",), {}, "a baseline"),
    ):
        with pytest.raises(SlonikError, match=sentence):
            draw_map(*arguments, html=page, **options)  # type: ignore[arg-type]
        assert not page.exists()


@pytest.mark.browser
def test_the_page_finds_shows_and_selects(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "map.html"
    draw_map(VECTORS, html=page, title="<i>Карта</i>")
    browser.open(page)
    browser.wait("document.getElementById('count').textContent === 'nothing selected'")
    browser.run("const s = document.getElementById('search'); s.value = 'слово7'; s.dispatchEvent(new Event('input'));")
    assert browser.run("return document.getElementById('found').textContent") == "1 of 40"
    browser.run("document.querySelector('#results button').click()")
    assert browser.run("return document.getElementById('selected').value") == "слово7"
    assert browser.run("return document.querySelectorAll('#near button').length") == 10
    browser.run("document.getElementById('whole').click(); document.getElementById('drag').click();")
    drag = """
    const c = document.getElementById('map'), b = c.getBoundingClientRect();
    const send = (name, x, y) => c.dispatchEvent(new PointerEvent(name, {clientX: b.left + x, clientY: b.top + y,
      bubbles: true, pointerId: 1}));
    c.setPointerCapture = () => {};
    const [x, y] = [b.width - 1, b.height - 1];
    send('pointerdown', 1, 1); send('pointermove', x, y); send('pointerup', x, y);
    return document.getElementById('count').textContent;"""
    assert browser.run(drag) == "40 selected"
    assert browser.errors() == [] and browser.requests() == []
    dark = """const c = document.getElementById('map').getContext('2d');
    const p = c.getImageData(2, 2, 1, 1).data; return p[0] + p[1] + p[2];"""
    assert browser.run(dark) > 600
    browser.colours(dark=True)
    browser.wait("(() => {" + dark + "})() < 200")
