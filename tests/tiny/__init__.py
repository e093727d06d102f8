"""Two-layer random models and toy tokenizers for every test of the project.

Everything is made in memory from a fixed seed and an inline Russian text: no network, no
registry package, no downloaded file. Nothing here measures quality; the weights are noise.

    tiny.tokenizer("wordpiece" | "bpe" | "unigram")         tokenizers.Tokenizer, all five specials
    tiny.model("bert" | ... | "gpt2" | "t5", layers=2)        stock transformers model in eval mode
    tiny.checkpoint(folder, "xlm-roberta")                   a whole Hugging Face folder on disk
    tiny.TEXTS, tiny.PAIRS                                   Russian sentences; (English, Russian)
"""

from tests.tiny.models import ENCODERS, FAMILIES, MORE_ENCODERS, TOKENIZER_OF, checkpoint, config, model
from tests.tiny.texts import PAIRS, TEXTS
from tests.tiny.tokenizers import SPECIALS, TOKENIZER_KINDS, tokenizer

__all__ = [
    "ENCODERS",
    "FAMILIES",
    "MORE_ENCODERS",
    "PAIRS",
    "SPECIALS",
    "TEXTS",
    "TOKENIZER_KINDS",
    "TOKENIZER_OF",
    "checkpoint",
    "config",
    "model",
    "tokenizer",
]
