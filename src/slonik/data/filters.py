"""Make texts of a corpus uniform, and leave out those that are no text or in another language.

Does: NFC, line breaks, invisible and control characters, runs of spaces; rules for what is left out, each counted by
its name. Two checks of the language: the share of letters of its script tells Russian from English and guards a whole
corpus before any work is done; `LanguageFilter` names the language of single texts.
Does not change words, letter case or punctuation, and does not find duplicates (`deduplication`).
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator

from pydantic import Field

from slonik.core.config import Config
from slonik.core.errors import MissingExtra, SlonikError
from slonik.data.documents import CorpusDocument
from slonik.text.scripts import LANGUAGES, script_of_character

# Soft hyphen, zero-width characters, direction marks, the byte-order mark.
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f]")
_SPACES = re.compile(r"[ \t\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+")
_BREAKS = re.compile(r"\r\n|[\r\v\f\x85\u2028\u2029]")
_RUN = re.compile(r"(\S)\1{9,}")
_GUARD_DOCUMENTS = 500
_MIN_SCRIPT_SHARE = 0.3
# py3langid takes one short Russian sentence in ten for Bulgarian or Macedonian.
_MIN_LETTERS_TO_JUDGE = 100
_MIN_LETTERS_OF_SCRIPT = 10
# py3langid takes .7 ms for them, and names the same language as for twice as many on all of 320 texts.
_JUDGED_CHARACTERS = 1000


class CleaningConfig(Config):
    """Which texts stay."""

    min_characters: int = Field(1, ge=1)
    max_characters: int = Field(10_000_000, ge=1)
    min_letter_share: float = Field(0.0, ge=0, le=1)
    """Letters among the characters that are no spaces: .5 leaves out tables, logs and ruled lines."""
    max_repeated_lines: float = Field(1.0, gt=0, le=1)
    """Share of lines that occur before in the same document: .3 is Gopher's rule (Rae et al. 2021, appendix A)."""
    max_run_share: float = Field(1.0, gt=0, le=1)
    """Share of characters in runs of ten or more equal ones."""
    keep_whitespace: bool = False
    """Indentation, runs of spaces and blank lines stay (verse, code); otherwise each run is one space or line break."""


def normalise_text(text: str, *, keep_whitespace: bool = False) -> str:
    """`text` in NFC with plain line breaks, without invisible and control characters.

    Args:
        keep_whitespace: spaces and blank lines stay as they are, but for white space at the end; otherwise spaces are
            plain and single, and blank lines and spaces around lines go.
    """
    text = _BREAKS.sub("\n", unicodedata.normalize("NFC", text))
    text = _CONTROL.sub("", _INVISIBLE.sub("", text))
    if keep_whitespace:
        return text.rstrip().lstrip("\n")
    lines = (_SPACES.sub(" ", line).strip() for line in text.split("\n"))
    return "\n".join(line for line in lines if line)


def reason_to_drop(text: str, config: CleaningConfig) -> str | None:
    """The name of the first rule that leaves out a normalised `text`; None where it stays."""
    if len(text) < config.min_characters:
        return "short"
    if len(text) > config.max_characters:
        return "long"
    if config.min_letter_share > 0:
        solid = [letter for letter in text if not letter.isspace()]
        if sum(map(str.isalpha, solid)) < config.min_letter_share * len(solid):
            return "few_letters"
    if config.max_repeated_lines < 1:
        lines = text.split("\n")
        if len(lines) - len(set(lines)) > config.max_repeated_lines * len(lines):
            return "repeated_lines"
    if config.max_run_share < 1 and sum(len(run[0]) for run in _RUN.finditer(text)) > config.max_run_share * len(text):
        return "runs"
    return None


class DocumentCleaner:
    """The cleaning that every corpus goes through, a document at a time: made uniform, judged by rules and language.

    Args:
        config: what stays.
        language: of the corpus, as an ISO 639-1 code, to leave out documents in others by; None = not looked at.

    Raises:
        MissingExtra: py3langid is not installed.
    """

    def __init__(self, config: CleaningConfig, language: str | None = None) -> None:
        self._config = config
        self._language = None if language is None else LanguageFilter((language,))

    def clean(self, text: str) -> tuple[str, str | None]:
        """(the uniform text, the reason to leave it out or None)."""
        text = normalise_text(text, keep_whitespace=self._config.keep_whitespace)
        if not text:
            return text, "empty"
        reason = reason_to_drop(text, self._config)
        if reason is None and self._language is not None and not self._language.allows(text):
            reason = "language"
        return text, reason


def script_share(text: str, language: str) -> float:
    """Share of the letters of `text` that belong to the language's script; 1 for a text without letters.

    Raises:
        SlonikError: a language whose script is not known here.
    """
    if language not in LANGUAGES:
        known = ", ".join(sorted(LANGUAGES))
        raise SlonikError(f"the script of the language {language!r} is not known; known: {known}")
    letters = {letter: count for letter, count in Counter(text).items() if letter.isalpha()}
    own = sum(count for letter, count in letters.items() if script_of_character(letter) in LANGUAGES[language])
    return own / sum(letters.values()) if letters else 1.0


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
    """Says whether a text is in one of `languages`, by py3langid (97 languages): tells Russian from Ukrainian.

    Texts below a hundred letters are judged by script alone.

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
        start = text[:_JUDGED_CHARACTERS]
        letters = sum(map(str.isalpha, start))
        if letters < _MIN_LETTERS_OF_SCRIPT:
            return True
        known = [language for language in self._languages if language in LANGUAGES]
        if known and max(script_share(start, language) for language in known) < _MIN_SCRIPT_SHARE:
            return False
        if letters < _MIN_LETTERS_TO_JUDGE:
            return True
        return self._classify(start)[0] in self._languages
