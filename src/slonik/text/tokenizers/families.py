"""The special tokens of each model family, in the order of their ids, and where they stand around a text.

Does: name them once, for training tokenizers and for the configs of fresh models.
Does not: build models or tokenizers.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from slonik.core.errors import SlonikError, lookup

#: Prefixes of FRED-T5's seven denoisers.
FRED_T5_PREFIXES = ("<LM>", "<SC1>", "<SC2>", "<SC3>", "<SC4>", "<SC5>", "<SC6>")
#: Prefixes of UL2's denoisers: regular, sequential, extreme.
UL2_PREFIXES = ("[R]", "[S]", "[X]")
#: Spans that one sequence may have: T5 and FRED-T5 have as many sentinels.
DEFAULT_SENTINELS = 100


@dataclass(frozen=True)
class Family:
    """Special tokens of a model family.

    Attributes:
        roles: role (`pad_token`, `cls_token`, ...) -> token; several roles may share one.
        single, pair: templates around one text and two, in the language of `tokenizers`' TemplateProcessing.
        extra: further special tokens without a role (prefixes of denoisers).
        sentinels: how many `<extra_id_N>` tokens stand at the end of the vocabulary, number 0 last, as T5 has it.
        type_ids: whether its models take token type ids.
    """

    roles: dict[str, str]
    single: str = "$A"
    pair: str = "$A $B"
    extra: tuple[str, ...] = ()
    sentinels: int = 0
    type_ids: bool = field(default=False)

    @property
    def first(self) -> list[str]:
        """The special tokens at the beginning of the vocabulary, each once, in order."""
        return list(dict.fromkeys((*self.roles.values(), *self.extra)))

    @property
    def last(self) -> list[str]:
        """The sentinels, in the order of their ids."""
        return [f"<extra_id_{number}>" for number in reversed(range(self.sentinels))]


_BERT = Family(
    roles={
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    },
    single="[CLS] $A [SEP]",
    pair="[CLS] $A [SEP] $B:1 [SEP]:1",
    type_ids=True,
)
_ROBERTA = Family(
    roles={
        "bos_token": "<s>",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
        "cls_token": "<s>",
        "sep_token": "</s>",
    },
    single="<s> $A </s>",
    pair="<s> $A </s> </s> $B </s>",
)
_T5 = Family(
    roles={"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"},
    single="$A </s>",
    pair="$A </s> $B </s>",
    sentinels=DEFAULT_SENTINELS,
)

#: Family name -> its special tokens.
FAMILIES: dict[str, Family] = {
    "bert": _BERT,
    "ltg-bert": replace(_BERT, type_ids=False),
    "deberta-v2": replace(_BERT, roles=_BERT.roles | {"bos_token": "[CLS]", "eos_token": "[SEP]"}),
    "modernbert": replace(_BERT, pair="[CLS] $A [SEP] $B [SEP]", type_ids=False),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "gpt2": Family(roles={"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}),
    "t5": _T5,
    "fred-t5": replace(
        _T5,
        roles={"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
        extra=FRED_T5_PREFIXES,
    ),
    "ul2": replace(_T5, extra=UL2_PREFIXES),
}
#: What a kind of tokenizer is most often used with.
DEFAULT_FAMILY = {"wordpiece": "bert", "bpe": "roberta", "unigram": "t5"}


def family(name: str, *, sentinels: int | None = None, extra: tuple[str, ...] = ()) -> Family:
    """A family by name, with another number of sentinels and further special tokens.

    Raises SlonikError for an unknown family, and for sentinels where the family has none.
    """
    found = lookup(name, FAMILIES, "model family")
    if sentinels is not None:
        if not found.sentinels:
            with_sentinels = ", ".join(key for key, each in FAMILIES.items() if each.sentinels)
            raise SlonikError(f"{name} has no sentinels; the families that have: {with_sentinels}")
        if sentinels < 1:
            raise SlonikError(f"the number of sentinels is {sentinels}; it must be at least 1")
        found = replace(found, sentinels=sentinels)
    return replace(found, extra=(*found.extra, *extra))
