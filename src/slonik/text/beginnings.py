"""The first token ids of long texts without reading all of them: a line of a megabyte costs no more than its beginning.

Exact: the ids are those that the whole text would begin with. A text is cut where a word ends and a space follows, and
only for tokenizers that cut at spaces before anything else, so that nothing behind the place can reach back over it;
any other tokenizer reads the whole text. A beginning is doubled until it has tokens enough.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from tokenizers import Tokenizer

Count: TypeAlias = Callable[[str], int]
_CHARACTERS = 6  # per token, to begin with
_LEAST = 256
_SPACES = " \n\t\r"
_SPLITTERS = {"BertPreTokenizer", "Whitespace", "WhitespaceSplit", "CharDelimiterSplit"}


def may_be_long(text: str, most: int) -> bool:
    """Whether reading its beginning alone is worth the trouble."""
    return len(text) > _CHARACTERS * most + _LEAST


def beginning(tokenizer: Tokenizer, text: str, most: int, count: Count) -> str:
    """A beginning of `text` that has more than `most` tokens if the text has; the text itself where that is not sure.

    Args:
        tokenizer: raw, without truncation.
        count: how many tokens it makes of a text.
    """
    if not splits_at_spaces(tokenizer):
        return text
    size = _CHARACTERS * most + _LEAST
    while size < len(text):
        part = text[: _word_end(text, size)]
        if part and count(part) > most:
            return part
        size *= 4
    return text


def splits_at_spaces(tokenizer: Tokenizer) -> bool:
    """Whether no token reaches over a space that follows a word."""
    before: Any = tokenizer.pre_tokenizer
    if before is None or any(_has_space(token.content) for token in tokenizer.get_added_tokens_decoder().values()):
        return False
    content = before.__getstate__()
    return _splits(json.loads(content))


def _splits(step: Any) -> bool:
    kind = step.get("type")
    if kind == "Sequence":
        return any(_splits(each) for each in step["pretokenizers"])
    if kind == "Metaspace":
        return bool(step.get("split", True))
    if kind == "ByteLevel":
        return bool(step.get("use_regex", True))
    if kind == "Split":  # the patterns of GPT-2 and its followers
        pattern = step.get("pattern", {})
        return pattern.get("String") == " " or r"\s+(?!\S)" in str(pattern.get("Regex", ""))
    return kind in _SPLITTERS and step.get("delimiter", " ") == " "


def _word_end(text: str, before: int) -> int:
    """The last place up to `before` with a word on its left and a plain space on its right; 0 where there is none."""
    place = max(text.rfind(space, 0, before) for space in _SPACES)
    while place > 0 and text[place - 1].isspace():
        place -= 1
    while place > 0 and text[place] not in _SPACES:  # a space of another kind: go to a word before it
        place = max(text.rfind(space, 0, place) for space in _SPACES)
        while place > 0 and text[place - 1].isspace():
            place -= 1
    return max(place, 0)


def _has_space(content: str) -> bool:
    return any(sign.isspace() for sign in content)


def beginnings(tokenizer: Tokenizer, texts: Sequence[str], most: int, count: Count) -> Sequence[str]:
    """`texts`, the long ones cut to a beginning of more than `most` tokens."""
    if not any(may_be_long(text, most) for text in texts):
        return texts
    return [beginning(tokenizer, text, most, count) if may_be_long(text, most) else text for text in texts]
