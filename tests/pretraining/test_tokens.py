"""Documents are tokenised whole: line breaks stay, and lines are found in the ids."""

from __future__ import annotations

import itertools

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from slonik.pretraining.tokens import sentence_ids
from tests import tiny

VERSE = "Мой дядя самых честных правил,\n  Когда не в шутку занемог,\n\n\nОн уважать себя заставил\n"


def _byte_level() -> Tokenizer:
    """Every byte is a token: nothing of a text is lost."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    return made


@pytest.mark.parametrize("kind", ["wordpiece", "unigram", "bpe"])
@pytest.mark.parametrize("threads", [1, None])
def test_lines_joined_are_the_ids_of_the_whole_text(kind: str, threads: int | None) -> None:
    tokenizer = tiny.tokenizer(kind)
    texts = [*tiny.TEXTS, VERSE, "\n".join(tiny.TEXTS), "", "одна"] * 8
    found = sentence_ids(tokenizer, texts, threads=threads)
    for text, lines in zip(texts, found, strict=True):
        assert list(itertools.chain(*lines)) == tokenizer.encode(text, add_special_tokens=False).ids
    assert len(found[len(tiny.TEXTS)]) == 3


def test_a_line_break_with_a_token_stays_with_the_line_that_it_ends() -> None:
    tokenizer = _byte_level()
    (lines,) = sentence_ids(tokenizer, [VERSE])
    newline = tokenizer.encode("\n").ids[0]
    assert len(lines) == 3 and sum(line.count(newline) for line in lines) == VERSE.count("\n")
    assert all(newline in line and line[0] != newline for line in lines)
