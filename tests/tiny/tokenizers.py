"""Toy tokenizers of the three kinds, made from the inline text; the same in every run.

The WordPiece and Unigram vocabularies are the most frequent substrings of words, counted here, because the
library's trainers for these kinds break ties by hash order. All kinds hold five special tokens at the same ids,
so that one tiny model config serves any kind.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import cache

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tests.tiny.texts import PAIRS, TEXTS

TOKENIZER_KINDS = ("wordpiece", "bpe", "unigram")
SPECIALS: dict[str, tuple[str, str, str, str, str]] = {
    # kind: (cls, pad, sep, unk, mask), whose ids are 0, 1, 2, 3, 4
    "wordpiece": ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"),
    "bpe": ("<s>", "<pad>", "</s>", "<unk>", "<mask>"),
    "unigram": ("<s>", "<pad>", "</s>", "<unk>", "<mask>"),
}
_LONGEST_PIECE = 6


def tokenizer(kind: str = "unigram", vocab_size: int = 500) -> Tokenizer:
    """A fresh tokenizer of `kind` with `vocab_size` pieces (byte-level BPE and Unigram keep every letter besides).

    Ids 0 to 4 are cls, pad, sep, unk, mask; a text becomes `cls text sep`.
    """
    return Tokenizer.from_str(_made(kind, vocab_size))


@cache
def _made(kind: str, vocab_size: int) -> str:
    toy = {"wordpiece": _wordpiece, "bpe": _bpe, "unigram": _unigram}[kind](vocab_size)
    cls, _, sep, _, _ = SPECIALS[kind]
    toy.add_special_tokens(list(SPECIALS[kind]))
    toy.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}", pair=f"{cls} $A {sep} $B:1 {sep}:1", special_tokens=[(cls, 0), (sep, 2)]
    )
    return toy.to_str()


def _corpus() -> list[str]:
    return TEXTS + [text for pair in PAIRS for text in pair]


def _wordpiece(vocab_size: int) -> Tokenizer:
    specials = SPECIALS["wordpiece"]
    toy = Tokenizer(models.WordPiece({token: index for index, token in enumerate(specials)}, unk_token="[UNK]"))
    toy.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    toy.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    toy.decoder = decoders.WordPiece()
    pieces = _frequent_pieces(toy, vocab_size - len(specials), continuation="##")
    vocab = {token: index for index, token in enumerate([*specials, *(piece for piece, _ in pieces)])}
    toy.model = models.WordPiece(vocab, unk_token="[UNK]")
    return toy


def _unigram(vocab_size: int) -> Tokenizer:
    specials = SPECIALS["unigram"]
    toy = Tokenizer(models.Unigram())
    toy.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()])
    toy.pre_tokenizer = pre_tokenizers.Metaspace()
    toy.decoder = decoders.Metaspace()
    pieces = _frequent_pieces(toy, vocab_size - len(specials), continuation="")
    total = sum(count for _, count in pieces)
    scored = [(token, 0.0) for token in specials]
    scored += [(piece, math.log(count / total)) for piece, count in pieces]
    toy.model = models.Unigram(scored, unk_id=3)
    return toy


def _bpe(vocab_size: int) -> Tokenizer:
    toy = Tokenizer(models.BPE())
    toy.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    toy.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIALS["bpe"]),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    toy.train_from_iterator(_corpus(), trainer)
    return toy


def _frequent_pieces(toy: Tokenizer, size: int, continuation: str) -> list[tuple[str, int]]:
    """Every single letter, then the substrings that cover most text, at most `size`; (piece, count), best first.

    A piece inside a word begins with `continuation`.
    """
    counts: Counter[str] = Counter()
    for text in _corpus():
        for word, _ in toy.pre_tokenizer.pre_tokenize_str(toy.normalizer.normalize_str(text)):
            for start in range(len(word)):
                for end in range(start + 1, min(len(word), start + _LONGEST_PIECE) + 1):
                    counts[(continuation if start else "") + word[start:end]] += 1
    letters = sorted(piece for piece in counts if len(piece.removeprefix(continuation)) == 1)
    longer = [piece for piece in counts if len(piece.removeprefix(continuation)) > 1 and counts[piece] > 1]
    longer.sort(key=lambda piece: (-counts[piece] * len(piece.removeprefix(continuation)), piece))
    kept = [*letters, *longer[: max(0, size - len(letters))]]
    return sorted(((piece, counts[piece]) for piece in kept), key=lambda item: (-item[1], item[0]))
