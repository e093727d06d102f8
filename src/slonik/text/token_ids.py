"""Texts to token ids with the raw `tokenizers` library. No truncation here: windows are cut from lists of ids."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Encoding, Tokenizer

from slonik.core.errors import SlonikError

_PAD_NAMES = ("<pad>", "[PAD]")
_BATCH = 256  # from here on the library's own threads are worth their start


@dataclass(frozen=True)
class Template:
    """The special ids that a tokenizer puts before and after one text."""

    head: tuple[int, ...]
    tail: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many specials there are."""
        return len(self.head) + len(self.tail)

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Template:
        """Read from what the tokenizer does to one letter."""
        encoding = tokenizer.encode("а")
        inside = [index for index, special in enumerate(encoding.special_tokens_mask) if not special]
        if not inside:
            return cls(tuple(encoding.ids), ())
        return cls(tuple(encoding.ids[: inside[0]]), tuple(encoding.ids[inside[-1] + 1 :]))


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a folder, its own padding and truncation switched off.

    Raises:
        SlonikError: tokenizer.json is missing or damaged.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise SlonikError(f"{folder} has no tokenizer.json: copy it from the checkpoint that was exported")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust library raises plain Exception
        raise SlonikError(f"{path} is damaged ({error}): export the checkpoint again") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def content_ids(tokenizer: Tokenizer, texts: Sequence[str], *, threads: int) -> list[list[int]]:
    """Ids of each text without specials, not truncated."""
    if threads == 1 or len(texts) < _BATCH:
        return [encode(tokenizer, text).ids for text in texts]
    try:
        return [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]
    except (TypeError, UnicodeEncodeError):  # a lone surrogate somewhere: find it text by text
        return [encode(tokenizer, text).ids for text in texts]


def encode(tokenizer: Tokenizer, text: str) -> Encoding:
    """One text without specials; lone surrogates become question marks."""
    try:
        return tokenizer.encode(text, add_special_tokens=False)
    except (TypeError, UnicodeEncodeError):
        if not isinstance(text, str):
            raise
        return tokenizer.encode(text.encode("utf-8", "replace").decode("utf-8"), add_special_tokens=False)


def pad_id(folder: Path, tokenizer: Tokenizer) -> int:
    """The id to pad with: the model's own, because RoBERTa-like graphs count positions by it."""
    named = read_config(folder).get("pad_token_id")
    if isinstance(named, int):
        return named
    found = (tokenizer.token_to_id(name) for name in _PAD_NAMES)
    return next((int(token) for token in found if token is not None), 0)


def read_config(folder: Path) -> dict[str, Any]:
    """The content of config.json, empty where there is none.

    Raises:
        SlonikError: it is damaged.
    """
    path = folder / "config.json"
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SlonikError(f"{path} is not readable JSON ({error}): export the checkpoint again") from None
    return content if isinstance(content, dict) else {}


def span(text: str, start: int, end: int) -> tuple[int, int]:
    """A piece's span inside `text` without surrounding spaces; (0, 0) for one that lies before the text."""
    start, end = max(start, 0), max(end, 0)
    if end == 0:
        return 0, 0
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end
