"""Which writing system a token of a vocabulary belongs to, and which one a language is written in.

Does: look at the letters of a token; digits, punctuation, symbols and emoji are `common` to all.
Does not: detect languages (Russian and Bulgarian tokens look the same).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import cache

from slonik.core.errors import SlonikError, unknown_name

COMMON = "common"
MIXED = "mixed"
OTHER = "other"

_CYRILLIC = ("ru", "uk", "be", "bg", "mk", "kk", "ky", "tt", "ba", "cv", "mn", "tg")
_LATIN = (
    "en", "de", "fr", "es", "it", "pt", "nl", "pl", "cs", "sk", "sl", "hr", "ro", "hu", "fi", "sv", "da", "no", "et",
    "lv", "lt", "tr", "az", "uz", "vi", "id",
)  # fmt: skip

#: Language code -> the scripts it is written in; a script's own name is understood too.
LANGUAGES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_CYRILLIC, ("cyrillic",)),
    **dict.fromkeys(_LATIN, ("latin",)),
    "sr": ("cyrillic", "latin"),
    "el": ("greek",),
    "hy": ("armenian",),
    "ka": ("georgian",),
    "he": ("hebrew",),
    "ar": ("arabic",),
    "fa": ("arabic",),
    "hi": ("devanagari",),
    "th": ("thai",),
    "zh": ("cjk",),
    "ja": ("cjk", "hiragana", "katakana"),
    "ko": ("hangul",),
}

#: Scripts told apart; letters of all further ones are `other`.
SCRIPTS = frozenset(
    (
        "cyrillic", "latin", "greek", "armenian", "georgian", "hebrew", "arabic", "syriac", "devanagari", "bengali",
        "gurmukhi", "gujarati", "oriya", "tamil", "telugu", "kannada", "malayalam", "sinhala", "thai", "lao",
        "tibetan", "myanmar", "khmer", "ethiopic", "mongolian", "cjk", "hiragana", "katakana", "hangul", "bopomofo",
    )
)  # fmt: skip

_COMMON_MARKS = frozenset(("combining", "variation", "modifier", "micro", "feminine", "masculine", "zero"))
_FIRST_WORDS = {"ideographic": "cjk", "extended": "arabic", "roman": "latin"}


def scripts_of_languages(languages: Iterable[str]) -> tuple[str, ...]:
    """The scripts of language codes or script names, in order, each once.

    Raises SlonikError for a name that is neither, or for no name at all.
    """
    found: list[str] = []
    for name in languages:
        key = name.strip().lower()
        if key not in LANGUAGES and key not in SCRIPTS:
            raise SlonikError(unknown_name(name, (*LANGUAGES, *SCRIPTS), "language or script"))
        found.extend(script for script in LANGUAGES.get(key, (key,)) if script not in found)
    if not found:
        raise SlonikError("no language is given: name at least one, for example ru,en")
    return tuple(found)


@cache
def script_of_character(character: str) -> str:
    """The script of one character: a name from SCRIPTS, `common` or `other`.

    Punctuation and digits that only one script uses (the Arabic comma, Devanagari digits) belong to that script;
    private, control and unassigned characters are `other`.
    """
    category = unicodedata.category(character)
    if character.isascii():
        return "latin" if character.isalpha() else COMMON
    word = unicodedata.name(character, "").partition(" ")[0].partition("-")[0].lower()
    script = _FIRST_WORDS.get(word, word)
    if script in SCRIPTS:
        return script
    if category in ("Cc", "Co", "Cn", "Cs", "Nd"):
        return OTHER
    if category[0] not in "LM" or category == "Lm" or word in _COMMON_MARKS:
        return COMMON
    return OTHER


def script_of(text: str) -> str:
    """The script of all letters of `text`: a name from SCRIPTS, `common` without letters, `mixed`, or `other`."""
    scripts = {script_of_character(character) for character in text} - {COMMON}
    if not scripts:
        return COMMON
    return scripts.pop() if len(scripts) == 1 else MIXED


def main_script(text: str) -> str:
    """The script of most letters of a longer text; `common` when it has none."""
    counts: dict[str, int] = {}
    for character in text:
        script = script_of_character(character)
        counts[script] = counts.get(script, 0) + (script != COMMON)
    best = max(counts, key=lambda script: counts[script], default=COMMON)
    return best if counts.get(best) else COMMON
