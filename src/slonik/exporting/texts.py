"""Russian texts of our own for calibration and parity, known by their hash, so that an export is repeatable.

The two sets share no sentence: what quantisation was tuned on does not judge it.
"""

from __future__ import annotations

import random
from functools import cache
from importlib import resources

PARITY_TEXTS = 500
_CALIBRATION_TEXTS = 96


@cache
def _sentences() -> tuple[str, ...]:
    content = resources.files("slonik.exporting").joinpath("russian_texts.txt").read_text(encoding="utf-8")
    return tuple(line for line in content.splitlines() if line)


def calibration_texts() -> list[str]:
    """Texts that activation ranges are taken from: every other sentence, and some of them joined into longer texts."""
    return _with_longer(_sentences()[0::2], _CALIBRATION_TEXTS)


def parity_texts() -> list[str]:
    """500 texts that int8 is judged on: the other sentences, alone and joined by two to five."""
    return _with_longer(_sentences()[1::2], PARITY_TEXTS)


def _with_longer(sentences: tuple[str, ...], count: int) -> list[str]:
    random_state = random.Random(0)
    texts = list(sentences)
    seen = set(texts)
    while len(texts) < count:
        text = " ".join(random_state.sample(sentences, random_state.choice((2, 2, 2, 3, 3, 5))))
        if text not in seen:
            seen.add(text)
            texts.append(text)
    return texts
