"""The tokens of one text and the words that they belong to, for pages that show either.

A word is what the taggers call one: a run of letters and digits, or one mark. A token belongs to the word with most of
its letters; special tokens, and those of a prefix, belong to none.

Shapes: T tokens, W words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from slonik.core.errors import SlonikError
from slonik.core.progress import warn_once
from slonik.data.annotations.tags import tokenize
from slonik.models.encoder import TorchEncoder
from slonik.text.tokenizing import TextRows


@dataclass(frozen=True)
class TextTokens:
    """A text as a model reads it.

    Attributes:
        text: as it was given, without the prefix.
        ids: (T,). tokens: as people read them. word: of each token its word's number, -1 for special ones.
        words: W words. cut: how many characters at the end the model does not read.
    """

    text: str
    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    word: tuple[int, ...]
    words: tuple[str, ...]
    cut: int = 0

    @property
    def special(self) -> NDArray[np.bool_]:
        """(T,) True for special tokens and those of the prefix."""
        return np.array(self.word) < 0

    def detail(self) -> dict[str, Any]:
        """What a record keeps."""
        return {"text": self.text, "tokens": list(self.tokens), "word": list(self.word), "words": list(self.words),
                "cut": self.cut}  # fmt: skip


def read_tokens(encoder: TorchEncoder, text: str, prefix: str | None = None) -> TextTokens:
    """The row of a text; None = the encoder's own prefix.

    Raises:
        SlonikError: there is no text.
    """
    if not text.strip():
        raise SlonikError("there is no text to look at")
    rows = TextRows(encoder.tokenizer, encoder.pad_id, side=encoder.sentence.truncation_side)
    start = encoder.sentence.prefix(prefix)
    ids, offsets, special = rows.with_offsets(text, start, encoder.max_length)
    marked = [(-1, -1) if own else tuple(span) for own, span in zip(special, offsets.tolist(), strict=True)]
    return told_unread(encoder.name, tokens_of(encoder.tokenizer, text, ids, marked))


def told_unread(model: str, tokens: TextTokens) -> TextTokens:
    """The same, with a warning where the model does not read the text to its end."""
    if tokens.cut:
        warn_once(
            f"{model} does not read the last {tokens.cut:,} of {len(tokens.text):,} characters of the text: what is "
            f"shown is of its first {len(tokens.ids)} tokens"
        )
    return tokens


def tokens_of(tokenizer: Tokenizer, text: str, ids: Sequence[int], offsets: Sequence[Sequence[int]]) -> TextTokens:
    """Tokens with their characters (start, end) in the text, (-1, -1) for special ones, to tokens of words."""
    letters = [-1] * len(text)
    spans = tokenize(text)
    for number, (start, end) in enumerate(spans):
        letters[start:end] = [number] * (end - start)
    owners: list[int] = []
    last = 0
    for start, end in offsets:
        inside = [owner for owner in letters[max(0, start) : max(0, end)] if owner >= 0]
        # a token without letters of its own (a lone ▁) is of the word that follows
        following = next((owner for owner in letters[max(0, end) :] if owner >= 0), -1) if start >= 0 else -1
        owners.append(Counter(inside).most_common(1)[0][0] if inside else following)
        last = max(last, end)
    read = [number for number in owners if number >= 0]
    kept = sorted(set(read))
    place = {number: i for i, number in enumerate(kept)} | {-1: -1}
    cut = len(text.rstrip()) - last if last else 0
    return TextTokens(
        text, tuple(int(number) for number in ids), tuple(shown_token(tokenizer, int(number)) for number in ids),
        tuple(place[owner] for owner in owners), tuple(text[spans[n][0] : spans[n][1]] for n in kept), max(0, cut),
    )  # fmt: skip


def shown_token(tokenizer: Tokenizer, number: int) -> str:
    """A token as people read it: byte-level ones decoded where they are whole letters."""
    token = tokenizer.id_to_token(number) or f"<{number}>"
    decoded = tokenizer.decode([number], skip_special_tokens=False).strip()
    return token if not decoded or "\ufffd" in decoded or token.startswith(("##", "▁")) else decoded
