"""Is this corpus in the language it should be in?

Two checks. `script_share` needs nothing: the share of letters of the language's script tells Russian from English, and
guards a whole corpus before any work is done. `LanguageFilter` names the language of single texts with py3langid (97
languages) and tells Russian from Ukrainian or Bulgarian; texts below a hundred letters are judged by script alone.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterator

from slonik.core.errors import MissingExtra, SlonikError
from slonik.data.documents import CorpusDocument

_SCRIPT_OF = {
    **dict.fromkeys(("ru", "uk", "be", "bg", "sr", "mk", "kk", "ky", "tg", "tt", "ba", "mn"), "CYRILLIC"),
    **dict.fromkeys(("en", "de", "fr", "es", "it", "pt", "nl", "pl", "cs", "fi", "tr", "sv"), "LATIN"),
    **{"el": "GREEK", "hy": "ARMENIAN", "ka": "GEORGIAN", "he": "HEBREW", "ar": "ARABIC"},
}
_GUARD_DOCUMENTS = 500
_MIN_SCRIPT_SHARE = 0.3
# py3langid takes one short Russian sentence in ten for Bulgarian or Macedonian.
_MIN_LETTERS_TO_JUDGE = 100
_MIN_LETTERS_OF_SCRIPT = 10


def script_share(text: str, language: str) -> float:
    """Share of the letters of `text` that belong to the language's script; 1 for a text without letters.

    Raises:
        SlonikError: a language whose script is not known here.
    """
    if language not in _SCRIPT_OF:
        known = ", ".join(sorted(_SCRIPT_OF))
        raise SlonikError(f"the script of the language {language!r} is not known; known: {known}")
    script, total, own = _SCRIPT_OF[language], 0, 0
    for letter in text:
        if letter.isalpha():
            total += 1
            own += unicodedata.name(letter, "").startswith(script)
    return own / total if total else 1.0


def guard_language(documents: Iterator[CorpusDocument], language: str) -> Iterator[CorpusDocument]:
    """`documents` unchanged, the first 500 of them looked at before any is handed out.

    Raises:
        SlonikError: fewer than 30 % of their letters are of the language's script.
    """
    first = list(itertools.islice(documents, _GUARD_DOCUMENTS))
    share = script_share("\n".join(document.text[:2000] for document in first), language)
    if share < _MIN_SCRIPT_SHARE:
        raise SlonikError(
            f"only {share:.0%} of the corpus's letters are of the script of {language!r}: it looks to be in another "
            "language; name the right one by --language, or pass --language any"
        )
    return itertools.chain(first, documents)


class LanguageFilter:
    """Says whether a text is in one of `languages`.

    Args:
        languages: ISO 639-1 codes.

    Raises:
        MissingExtra: py3langid is not installed.
    """

    def __init__(self, languages: tuple[str, ...]) -> None:
        try:
            from py3langid import classify
        except ImportError as error:
            raise MissingExtra("checking the language of single texts", "corpora", "py3langid") from error
        self._languages = languages
        self._classify = classify

    def allows(self, text: str) -> bool:
        """Whether `text` is in one of the languages; True where it is too short to say."""
        start = text[:2000]
        letters = sum(map(str.isalpha, start))
        if letters < _MIN_LETTERS_OF_SCRIPT:
            return True
        known = [language for language in self._languages if language in _SCRIPT_OF]
        if known and max(script_share(start, language) for language in known) < _MIN_SCRIPT_SHARE:
            return False
        if letters < _MIN_LETTERS_TO_JUDGE:
            return True
        return self._classify(text[:2000])[0] in self._languages
