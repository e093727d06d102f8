"""Scripts of characters, tokens and texts."""

from __future__ import annotations

import pytest

from slonik.core.errors import SlonikError
from slonik.text.scripts import main_script, script_of, scripts_of_languages


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Привет", "cyrillic"), ("й", "cyrillic"), ("и\u0306", "cyrillic"), ("қазақ", "cyrillic"),
        ("hello", "latin"), ("é", "latin"), ("a1", "latin"), ("Ⅷ", "latin"),
        ("", "common"), ("1,5", "common"), ("«—»", "common"), ("№", "common"), ("😀", "common"), ("½", "common"),
        ("中", "cjk"), ("か", "hiragana"), ("한", "hangul"), ("،", "arabic"), ("۱", "arabic"), ("१", "devanagari"),
        ("\ue000", "other"), ("aб", "mixed"),
    ],
)  # fmt: skip
def test_the_script_of_a_piece(text: str, script: str) -> None:
    assert script_of(text) == script


def test_the_main_script_of_a_text_is_that_of_most_letters() -> None:
    assert main_script("Команда git commit") == "latin"
    assert main_script("Выполните команду git") == "cyrillic"
    assert main_script("1 2 3!") == main_script("") == "common"


def test_languages_become_scripts() -> None:
    assert scripts_of_languages(("ru", "en", "uk", "Cyrillic", "ja")) == (
        "cyrillic", "latin", "cjk", "hiragana", "katakana",
    )  # fmt: skip
    with pytest.raises(SlonikError, match="unknown language or script 'xx'"):
        scripts_of_languages(("ru", "xx"))
