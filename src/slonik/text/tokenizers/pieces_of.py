"""Read off a tokenizer what objectives must know of it (see `slonik.text.tokenizers.pieces`)."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from tokenizers import Tokenizer

from slonik.text.tokenizers.pieces import Pieces
from slonik.text.tokenizers.vocabulary import Vocabulary, byte_alphabet, read_vocabulary

_SENTINEL = re.compile(r"▁?<extra_id_(\d+)>")
_STYLES = {
    "pad": ("<pad>", "[PAD]"),
    "mask": ("<mask>", "[MASK]"),
    "bos": ("<s>", "[CLS]", "<|endoftext|>"),
    "eos": ("</s>", "[SEP]", "<|endoftext|>"),
    "cls": ("[CLS]", "<s>"),
    "sep": ("[SEP]", "</s>"),
}


def pieces_of(tokenizer: Tokenizer, names: Mapping[str, str] | None = None, *, rows: int | None = None) -> Pieces:
    """The facts of `tokenizer`.

    Args:
        names: special tokens by role ("pad_token" -> "<pad>"), as tokenizer_config.json has them; the usual names
            are looked for where a role is missing.
        rows: rows of the model's embedding table, where it has more than there are pieces; the rest is special.
    """
    vocabulary = read_vocabulary(tokenizer)
    size = max(max(vocabulary.pieces) + 1, rows or 0)
    special = np.ones(size, dtype=np.bool_)
    special[list(vocabulary.pieces)] = False
    special[list(vocabulary.specials)] = True
    # Words added to the vocabulary stand beside the special tokens in the file, and are text.
    words = [token["id"] for token in vocabulary.json["added_tokens"] if not token["special"]]
    special[words] = False
    sentinels = _sentinels(vocabulary)
    special[sentinels] = True
    begins, sizes = np.ones(size, dtype=np.bool_), np.zeros(size, dtype=np.int64)
    for number, piece in vocabulary.pieces.items():
        if not special[number]:
            begins[number], sizes[number] = _facts(piece, number, vocabulary)
    named = {vocabulary.pieces[number]: number for number in vocabulary.specials}
    roles = {role: _role(role, names or {}, tokenizer) for role in _STYLES}
    pad = roles.pop("pad")
    return Pieces(
        special=special,
        starts_word=begins,
        bytes=sizes,
        pad=0 if pad is None else pad,
        sentinels=tuple(sentinels),
        named=named,
        **roles,
    )


def _sentinels(vocabulary: Vocabulary) -> list[int]:
    """Ids of `<extra_id_0>`, `<extra_id_1>`, ...: added tokens, special or not, or pieces proper (mT5's)."""
    found: dict[int, int] = {}
    for number, piece in vocabulary.pieces.items():
        if "<extra_id_" in piece and (match := _SENTINEL.fullmatch(piece)):
            order = int(match[1])
            if order not in found or number in vocabulary.specials:
                found[order] = number
    return [found[order] for order in sorted(found)]


def _role(role: str, names: Mapping[str, str], tokenizer: Tokenizer) -> int | None:
    for token in (names.get(f"{role}_token"), *_STYLES[role]):
        if token is not None and (found := tokenizer.token_to_id(token)) is not None:
            return int(found)
    return None


def _facts(piece: str, number: int, vocabulary: Vocabulary) -> tuple[bool, int]:
    """Whether a piece begins a word (or is none), and its UTF-8 bytes with the leading space."""
    if number in vocabulary.outside:
        return True, len(piece.encode()) + 1
    if vocabulary.byte_level:
        letters = byte_alphabet()
        content = bytes(letters[letter] for letter in piece if letter in letters)
        text = content.decode("utf-8", "ignore")
        return content.startswith(b" ") or bool(text and not _has_letter(text)), len(content)
    if vocabulary.is_byte(number):
        return False, 1
    if vocabulary.prefix:
        inside = piece.startswith(vocabulary.prefix)
        text = piece.removeprefix(vocabulary.prefix)
        return not inside, len(text.encode()) + (not inside and _has_letter(text))
    text = piece.replace("▁", " ")
    return text.startswith(" ") or not _has_letter(text), len(text.encode())


def _has_letter(text: str) -> bool:
    return any(letter.isalnum() for letter in text)
