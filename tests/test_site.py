"""The site builds offline without a warning, and has every function of the library, the guides, a search, Russian."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import slonik

pytest.importorskip("sphinx", reason="the site's generator is not installed (extra docs)")
pytest.importorskip("myst_parser", reason="the site's generator is not installed (extra docs)")
pytest.importorskip("furo", reason="the site's theme is not installed (extra docs)")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, as `make docs` builds it."""
    from sphinx.cmd.build import main

    out = tmp_path_factory.mktemp("site")
    doctrees = tmp_path_factory.mktemp("doctrees")
    assert main(["-q", "-W", "--keep-going", "-b", "html", "-d", str(doctrees), str(DOCS), str(out)]) == 0
    return out


def test_every_guide_is_a_page(site: Path) -> None:
    missing = [page.stem for page in DOCS.glob("*.md") if not (site / f"{page.stem}.html").exists()]
    assert missing == []


def test_every_function_of_the_library_is_in_the_reference(site: Path) -> None:
    page = (site / "reference.html").read_text(encoding="utf-8")
    places = set(re.findall(r'id="(slonik[\w.]+)"', page))
    functions = [getattr(slonik, name) for name in slonik._HOMES]
    assert {f"{function.__module__}.{function.__qualname__}" for function in functions} <= places


def test_search_and_the_russian_front_page(site: Path) -> None:
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    assert "vocabulary_trimming" in index and "compress" in index
    assert "мастерская" in (site / "index.ru.html").read_text(encoding="utf-8")


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    page = (site / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<(?:script|link)[^>]*(?:src|href)=\"(?:https?:)?//[^\"]+", page) == []
