"""A tokenizer.json that other clients can read: the same pieces, without steps that only the Rust library has."""

from __future__ import annotations

import json
from typing import Any

from tokenizers import Tokenizer

# What the library's Nmt step drops and what it turns into a space, as patterns that JavaScript shares.
_DROPPED = "[\u0001-\u0008\u000b\u000e-\u001f\u007f\u008f\u009f]"
_SPACES = "[\t\n\f\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]"
_NMT = [
    {"type": "Replace", "pattern": {"Regex": _DROPPED}, "content": ""},
    {"type": "Replace", "pattern": {"Regex": _SPACES}, "content": " "},
]


def portable(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer itself, or a copy whose Nmt normaliser (unknown to transformers.js) is two replacements."""
    content: dict[str, Any] = json.loads(tokenizer.to_str())
    normalizer = content.get("normalizer")
    if not normalizer:
        return tokenizer
    steps = normalizer["normalizers"] if normalizer["type"] == "Sequence" else [normalizer]
    if not any(step["type"] == "Nmt" for step in steps):
        return tokenizer
    replaced = [new for step in steps for new in (_NMT if step["type"] == "Nmt" else [step])]
    content["normalizer"] = {"type": "Sequence", "normalizers": replaced}
    return Tokenizer.from_str(json.dumps(content, ensure_ascii=False))
