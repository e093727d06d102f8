"""The beginning of a long text gives the tokens that the whole text would begin with, whatever the tokenizer."""

from __future__ import annotations

import random

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from slonik.text.beginnings import beginning, splits_at_spaces
from slonik.text.tokenizing import TextRows, encode
from tests import tiny

SIGNS = (
    "Слон", "идёт,", "mama-мыла!", "ЁЖ", "[SEP]", "<mask>", "é", "e\u0301", "ﬁ", "½", "🐘\u200d", "\xa0", "\u2028",
    "\u3000", "\t\t", "\n\n", "", "12", "345", "__", "’s", "##",
)  # fmt: skip
SPACES = (" ", "  ", "\n", "\t ", "\r\n", "\u00a0", " " * 50, " \u0301", "")


def texts(seed: int) -> list[str]:
    """Long texts of odd signs, with spaces of every kind."""
    rng = random.Random(seed)
    made = ["".join(rng.choice([*SIGNS, *tiny.TEXTS]) + rng.choice(SPACES) for _ in range(400)) for _ in range(12)]
    return [*made, " " * 40_000 + tiny.TEXTS[0], "а" * 5_000, " " * 5_000, ("слово " * 2_000).strip()]


def tokenizer(kind: str) -> Tokenizer:
    toy = tiny.tokenizer(kind.split()[0])
    if kind == "wordpiece lower":
        toy.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    if kind == "unigram whole":
        toy.pre_tokenizer = pre_tokenizers.Metaspace(split=False)
    if kind == "unigram xlm":
        toy.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
        toy.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace("  ", " ")])
    if kind == "bpe none":
        toy.pre_tokenizer = None
    return toy


KINDS = ("wordpiece", "wordpiece lower", "bpe", "unigram", "unigram xlm", "unigram whole", "bpe none")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("most", [1, 30, 126])
def test_the_first_tokens_are_those_of_the_whole_text(kind: str, most: int) -> None:
    toy = tokenizer(kind)
    for text in texts(most):
        part = beginning(toy, text, most, lambda some: len(encode(toy, some).ids))
        whole = encode(toy, text).ids
        found = encode(toy, part).ids
        assert found[:most] == whole[:most]
        assert (len(found) > most) == (len(whole) > most)  # what was cut can be counted


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_long_texts_are_those_of_whole_ones(kind: str) -> None:
    toy = tokenizer(kind)
    rows = TextRows(toy, 1)
    given = texts(7)
    whole = rows.arrange([encode(toy, text).ids for text in given], 32, "truncate")
    found = rows.read(given, 32, "truncate", threads=1)
    assert found.ids == whole.ids == rows.rows(given, 32, threads=1)
    assert found.cut == whole.cut


def test_a_long_line_costs_its_beginning_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    toy = tokenizer("unigram")

    def counted(some: Tokenizer, text: str) -> object:
        read.append(len(text))
        return encode(some, text)

    monkeypatch.setattr("slonik.text.tokenizing.encode", counted)
    rows = TextRows(toy, 1).read([" ".join(tiny.TEXTS * 600)], 512, "truncate", threads=1)
    assert len(rows.ids[0]) == 512 and rows.cut == 1
    assert 0 < sum(read) < 20_000  # of a megabyte


def test_tokenizers_that_do_not_split_at_spaces_read_everything() -> None:
    assert [splits_at_spaces(tokenizer(kind)) for kind in KINDS] == [True, True, True, True, True, False, False]
    spaced = tokenizer("wordpiece")
    spaced.add_tokens(["два слова"])
    assert not splits_at_spaces(spaced)
    none = Tokenizer(models.BPE())
    assert not splits_at_spaces(none)
