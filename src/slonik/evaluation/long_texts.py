"""How many of the texts that are measured a model reads in part, and the sentence that says so.

Counted from the texts, and not from what was encoded, so that vectors from a cache tell the same. What happens to long
texts is decided by the model (`slonik.text.tokenizing.TextRows`); rows of a task are counted by `slonik.text.pairs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slonik.core.progress import warn_once
from slonik.text.tokenizing import TextRows

_MAY_GROW = "\u3300"  # signs from here on may become several letters before they are cut into tokens


def too_long(model: Any, texts: Sequence[str], prefix: str | None = None) -> int:
    """How many texts have more tokens than a model reads; 0 for what has no tokens.

    Args:
        prefix: put before each text; None = the model's own.
    """
    tokenizer, limit = getattr(model, "tokenizer", None), getattr(model, "max_length", None)
    if tokenizer is None or not isinstance(limit, int):
        return 0
    sentence: Any = getattr(model, "sentence", None)
    start = sentence.prefix(prefix) if hasattr(sentence, "prefix") else prefix or ""
    rows = TextRows(tokenizer, 0)
    room = limit - rows.template.size
    suspects = [whole for text in texts if _may_be_over(whole := start + text, room)]
    return rows.read(suspects, limit, "truncate", threads=None).cut if suspects else 0


def _may_be_over(text: str, room: int) -> bool:
    """Whether a text could have more tokens than this: none has more than bytes, and a mark before it."""
    return len(text.encode("utf-8", "replace")) + 4 > room or max(text, default="") >= _MAY_GROW


def told_cut(
    model: Any, texts: Sequence[str], prefix: str | None = None, *, what: str = "texts", whole: bool = False
) -> list[str]:
    """The sentence about texts that a model cuts; none where all are read whole, in windows too.

    Args:
        what: the texts are.
        whole: the model's own way with long texts is not asked: layers and tokens are always of one window.
    """
    if not whole and getattr(model, "long_texts", "truncate") != "truncate":
        return []
    count = too_long(model, texts, prefix)
    if not count:
        return []
    return [
        f"{model.name}: {count:,} of {len(texts):,} {what} are longer than the {model.max_length} tokens that it "
        "reads, and were cut"
    ]


def warn_cut(model: Any, texts: Sequence[str], prefix: str | None = None, *, what: str = "texts") -> None:
    """Say at once that layers and tokens are of the beginnings of texts, where a result has no place for it."""
    for sentence in told_cut(model, texts, prefix, what=what, whole=True):
        warn_once(sentence)
