"""A read-only view of a tokenizer's vocabulary, the same for Unigram, WordPiece and BPE (byte-level or not).

Does: parse `tokenizer.json` once and answer which tokens there are, what text they stand for, which are special,
and how BPE tokens are made of each other.
Does not: encode texts (see `fit`) or choose what stays (see `rules`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from tokenizers import Tokenizer

from slonik.core.errors import SlonikError
from slonik.text.tokenizing import USUAL_NAMES

Kind = Literal["unigram", "wordpiece", "bpe"]
_KINDS: dict[str, Kind] = {"Unigram": "unigram", "WordPiece": "wordpiece", "BPE": "bpe"}
_BYTE_FALLBACK = re.compile(r"<0x[0-9A-F]{2}>")


@cache
def byte_alphabet() -> Mapping[str, int]:
    """The 256 letters that byte-level BPE writes bytes with -> the byte (the map of GPT-2's encoder)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    alphabet = {chr(byte): byte for byte in printable}
    rest = sorted(set(range(256)) - set(printable))
    return alphabet | {chr(256 + index): byte for index, byte in enumerate(rest)}


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of one tokenizer.

    Attributes:
        kind: of the model.
        json: the whole parsed `tokenizer.json`.
        tokens: id -> token as the tokenizer writes it; ids may have holes.
        specials: ids of special and added tokens and of the unknown token, in order.
        outside: those of them that the model's own vocabulary does not hold; they come after it.
        byte_level: whether tokens are written in the 256-letter byte alphabet.
        size: one more than the largest id: the rows of an embedding table that fits.
    """

    kind: Kind
    json: dict[str, Any]
    tokens: dict[int, str]
    specials: tuple[int, ...]
    outside: tuple[int, ...]
    byte_level: bool
    size: int

    def surface(self, token_id: int) -> str | None:
        """The text that a token stands for, without word-start and continuation marks.

        None for a byte-level token that is only a part of a character.
        """
        token = self.tokens[token_id]
        if self.byte_level:
            alphabet = _ALPHABET
            if all(letter in alphabet for letter in token):
                try:
                    return bytes(alphabet[letter] for letter in token).decode().strip()
                except UnicodeDecodeError:
                    return None
            return token
        model = self.json["model"]
        suffix = model.get("end_of_word_suffix") or ""
        token = token.removeprefix(self.prefix).replace("\u2581", " ").strip()
        return token.removesuffix(suffix) if suffix else token

    @property
    def prefix(self) -> str:
        """What a token inside a word starts with (`##` in WordPiece), or nothing."""
        return str(self.json["model"].get("continuing_subword_prefix") or "")

    @property
    def unknown(self) -> int | None:
        """The id of the unknown token, if there is one."""
        model = self.json["model"]
        if self.kind == "unigram":
            return model.get("unk_id")
        name = model.get("unk_token")
        return next((i for i, token in self.tokens.items() if token == name), None) if name else None

    @property
    def padding(self) -> int | None:
        """The id of the padding token, if there is one: position ids of the RoBERTa family depend on it."""
        return next((i for i in self.specials if self.tokens[i] in USUAL_NAMES["pad"]), None)

    def is_byte(self, token_id: int) -> bool:
        """Whether a token stands for one byte, the last resort for characters that the vocabulary lacks."""
        token = self.tokens[token_id]
        if self.byte_level:
            return token in _ALPHABET
        return bool(self.json["model"].get("byte_fallback")) and bool(_BYTE_FALLBACK.fullmatch(token))

    def merges(self) -> list[tuple[int, int, int]]:
        """BPE: (left id, right id, id of the result) of every merge, in order of rank; empty for other kinds."""
        if self.kind != "bpe":
            return []
        ids = {token: i for i, token in self.tokens.items()}
        return [
            (ids[left], ids[right], ids[left + right.removeprefix(self.prefix)])
            for left, right in map(split_merge, self.json["model"]["merges"])
        ]

    def score(self, token_id: int) -> float:
        """How common the token was where the tokenizer was trained: a log-probability, or minus its rank."""
        return float(self.json["model"]["vocab"][token_id][1]) if self.kind == "unigram" else -float(token_id)


def split_merge(merge: str | list[str]) -> tuple[str, str]:
    """The two parts of a merge; older files write them as one string with a space."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def renumber_processor(processor: dict[str, Any] | None, new_ids: Mapping[int, int]) -> None:
    """Give the special tokens that a post-processor adds, and those nested in it, their new ids; others stay."""
    if not processor:
        return
    for nested in processor.get("processors", []):
        renumber_processor(nested, new_ids)
    if processor["type"] == "TemplateProcessing":
        for token in processor["special_tokens"].values():
            token["ids"] = [new_ids.get(old, old) for old in token["ids"]]
    elif processor["type"] in ("BertProcessing", "RobertaProcessing"):
        for end in ("sep", "cls"):
            token, old = processor[end]
            processor[end] = [token, new_ids.get(old, old)]


def read_vocabulary(tokenizer: Tokenizer) -> Vocabulary:
    """Look at a tokenizer's vocabulary.

    Raises SlonikError for a kind other than Unigram, WordPiece and BPE, and for an empty vocabulary.
    """
    content = json.loads(tokenizer.to_str())
    model = content["model"]
    if model.get("type") not in _KINDS:
        raise SlonikError(
            f"the tokenizer's model is {model.get('type')!r}; Unigram, WordPiece and BPE can be worked on"
        )
    vocab = model["vocab"]
    inside = dict(enumerate(entry[0] for entry in vocab)) if isinstance(vocab, list) else _by_id(vocab)
    added = {int(each["id"]): str(each["content"]) for each in content["added_tokens"]}
    tokens = inside | added
    if not tokens:
        raise SlonikError("the tokenizer has an empty vocabulary")
    view = Vocabulary(
        kind=_KINDS[model["type"]],
        json=content,
        tokens=tokens,
        specials=(),
        outside=tuple(sorted(set(added) - set(inside))),
        byte_level=_has_byte_level(content.get("pre_tokenizer")) or _has_byte_level(content.get("decoder")),
        size=max(tokens) + 1,
    )
    unknown = view.unknown
    specials = set(added) | (set() if unknown is None else {unknown})
    return Vocabulary(**{**view.__dict__, "specials": tuple(sorted(specials))})


def _by_id(vocab: dict[str, int]) -> dict[int, str]:
    return {i: token for token, i in sorted(vocab.items(), key=lambda entry: entry[1])}


def _has_byte_level(part: dict[str, Any] | None) -> bool:
    """Whether a pre-tokenizer or decoder is, or holds, the byte-level one."""
    if not part:
        return False
    nested = [*part.get("pretokenizers", []), *part.get("decoders", [])]
    return part.get("type") == "ByteLevel" or any(map(_has_byte_level, nested))


_ALPHABET = byte_alphabet()
