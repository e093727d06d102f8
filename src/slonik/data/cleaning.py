"""Make texts of a corpus uniform, and leave out those that are no text.

Does: NFC, line breaks, invisible and control characters, runs of spaces; rules for what is left out, each counted by
its name. Does not change words, letter case or punctuation, and does not judge the language (`language`) or find
duplicates (`deduplication`).
"""

from __future__ import annotations

import re
import unicodedata

from pydantic import Field

from slonik.core.config import Config

# Soft hyphen, zero-width characters, direction marks, the byte-order mark.
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f]")
_SPACES = re.compile(r"[ \t\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+")
_BREAKS = re.compile(r"\r\n|[\r\v\f\x85\u2028\u2029]")
_RUN = re.compile(r"(\S)\1{9,}")


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


def normalise_text(text: str) -> str:
    """`text` in NFC with plain spaces and line breaks, without invisible characters and blank lines."""
    text = _BREAKS.sub("\n", unicodedata.normalize("NFC", text))
    text = _CONTROL.sub("", _INVISIBLE.sub("", text))
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
