"""The tokenizer that is written for other clients cuts every text as before."""

from __future__ import annotations

from slonik.exporting.portable import portable
from tests import tiny

CHARACTERS = [chr(code) for code in range(1, 0x10000) if not 0xD800 <= code < 0xE000]


def test_nmt_becomes_replacements_with_the_same_pieces() -> None:
    before = tiny.tokenizer("unigram")
    after = portable(before)
    assert '"Nmt"' in before.to_str()
    assert '"Nmt"' not in after.to_str()
    for character in CHARACTERS:
        assert after.normalizer.normalize_str(f"а{character}б") == before.normalizer.normalize_str(f"а{character}б")
    for text in tiny.TEXTS:
        assert after.encode(text).ids == before.encode(text).ids


def test_other_tokenizers_are_left_as_they_are() -> None:
    for kind in ("wordpiece", "bpe"):
        tokenizer = tiny.tokenizer(kind)
        assert portable(tokenizer) is tokenizer
