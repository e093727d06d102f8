"""Toy tokenizers of the three kinds, trained on the inline text with the Rust trainers.

All three hold the same five special tokens at the same ids, so that one tiny model config serves any kind.
"""

from __future__ import annotations

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


@cache
def _trained(kind: str, vocab_size: int) -> str:
    corpus = TEXTS + [text for pair in PAIRS for text in pair]
    specials = list(SPECIALS[kind])
    cls, _, sep, unk, _ = specials
    if kind == "wordpiece":
        toy = Tokenizer(models.WordPiece(unk_token=unk))
        toy.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
        toy.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        toy.decoder = decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(vocab_size=vocab_size, special_tokens=specials, show_progress=False)
    elif kind == "bpe":
        toy = Tokenizer(models.BPE())
        toy.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        toy.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=specials,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
    elif kind == "unigram":
        toy = Tokenizer(models.Unigram())
        toy.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()])
        toy.pre_tokenizer = pre_tokenizers.Metaspace()
        toy.decoder = decoders.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=vocab_size, special_tokens=specials, unk_token=unk, show_progress=False
        )
    else:
        raise KeyError(f"no toy tokenizer of kind {kind!r}; there are {', '.join(TOKENIZER_KINDS)}")
    toy.train_from_iterator(corpus, trainer)
    toy.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}", pair=f"{cls} $A {sep} $B:1 {sep}:1", special_tokens=[(cls, 0), (sep, 2)]
    )
    return toy.to_str()


def tokenizer(kind: str = "unigram", vocab_size: int = 500) -> Tokenizer:
    """A fresh tokenizer of `kind` with at most `vocab_size` pieces (byte-level BPE has 256 letters at least).

    Ids 0 to 4 are cls, pad, sep, unk, mask; a text becomes `cls text sep`.
    """
    return Tokenizer.from_str(_trained(kind, vocab_size))
