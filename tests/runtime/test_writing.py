"""Pieces of a text that is being written hold all of its characters, however its tokenizer spells them."""

from __future__ import annotations

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models

from slonik.runtime.writing import GREEDY, Continuation
from slonik.text.prompts import Prompts, WritingFacts

FACTS = WritingFacts(two_stacks=False, context=50, begin=None, ends=frozenset(), end=None, pad=0, start=0)


@pytest.mark.parametrize("text", ["Да 😀 нет", "😀", "слон🐘"])
@pytest.mark.parametrize("cut", [0, 1, 3])
def test_characters_of_several_tokens_are_given_whole(text: str, cut: int) -> None:
    """A character of four tokens, as tokenizers that fall back to bytes have it; the last `cut` bytes are missing."""
    vocabulary = {f"<0x{byte:02X}>": byte for byte in range(256)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], byte_fallback=True))
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    spelt = list(text.encode())[: len(text.encode()) - cut]
    config = GREEDY.model_copy(update={"max_tokens": len(spelt)})
    made, pieces = Continuation(Prompts(tokenizer, FACTS, "bytes"), [97], config), []
    for byte in spelt:
        made.take(np.eye(256, dtype=np.float32)[byte])
        pieces.append(made.piece())
    whole = bytes(spelt).decode(errors="ignore")
    assert "".join(pieces) == whole and "".join([*pieces, made.rest()]).rstrip("\ufffd") == whole
