"""A toy vocabulary for the tests of language-model objectives: 5 specials, 100 sentinels' worth of ids, words."""

from __future__ import annotations

import numpy as np
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM, PreTrainedModel

from slonik.text.tokenizers.token_facts import TokenFacts
from tests import tiny

BOS, PAD, EOS, UNK, MASK = range(5)
SIZE = 500
PREFIXES = ("<LM>", "<SC1>", "<SC2>", "<SC3>", "<SC4>", "<SC5>", "<SC6>", "[R]", "[S]", "[X]")


def pieces(sentinels: int = 100) -> TokenFacts:
    """Ids 0-4 specials, 5-14 prefixes, then words (every third piece continues one); sentinels last, 0 on top."""
    special = np.zeros(SIZE, dtype=np.bool_)
    special[: 5 + len(PREFIXES)] = True
    special[SIZE - sentinels :] = True
    starts = np.arange(SIZE) % 3 != 2
    named = {"<s>": BOS, "</s>": EOS, "<mask>": MASK} | {name: 5 + index for index, name in enumerate(PREFIXES)}
    marks = tuple(SIZE - 1 - number for number in range(sentinels))
    return TokenFacts(
        special=special, starts_word=starts, bytes=np.where(special, 0, 4), pad=PAD, mask=MASK, bos=BOS, eos=EOS,
        cls=BOS, sep=EOS, sentinels=marks, named=named,
    )  # fmt: skip


def texts(count: int, rng: np.random.Generator, *, low: int = 5, high: int = 40) -> list[np.ndarray]:
    """Random texts between begin and end tokens."""
    words = pieces().ordinary
    return [np.concatenate([[BOS], rng.choice(words, size=int(rng.integers(low, high))), [EOS]]) for _ in range(count)]


def masked_model(family: str) -> PreTrainedModel:
    """A tiny masked-language model in eval mode."""
    made: PreTrainedModel = AutoModelForMaskedLM.from_config(tiny.config(family))
    return made.eval()


def causal_model() -> PreTrainedModel:
    """A tiny GPT-2."""
    made: PreTrainedModel = AutoModelForCausalLM.from_config(tiny.config("gpt2"))
    return made.eval()


def sequence_model() -> PreTrainedModel:
    """A tiny T5."""
    made: PreTrainedModel = AutoModelForSeq2SeqLM.from_config(tiny.config("t5"))
    return made.eval()
