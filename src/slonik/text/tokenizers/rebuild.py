"""Make a tokenizer out of a chosen part of another's pieces: the same rules, fewer pieces, new ids.

Does: renumber everything in `tokenizer.json` that holds an id, and drop what became impossible (BPE merges).
Does not: choose pieces (see `rules`), or touch a model's embedding rows (slonik.compression.surgery does).

Order of the new ids: special tokens first, in their old order, then the rest in its old order; added tokens that
lie outside the model's own vocabulary stay behind it, where the library expects them. The padding token keeps its
old id where that is possible: RoBERTa's position ids start after it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Collection
from typing import Any

from tokenizers import Tokenizer

from slonik.core.errors import SlonikError
from slonik.text.tokenizers.vocabulary import Vocabulary, split_merge


def new_order(vocabulary: Vocabulary, kept: Collection[int]) -> tuple[int, ...]:
    """The old ids in the order of the new ones; see the module for the order."""
    wanted = set(kept) | set(vocabulary.specials)
    outside = set(vocabulary.outside)
    specials = [i for i in vocabulary.specials if i not in outside]
    order = specials + sorted(wanted - outside - set(specials))
    padding = vocabulary.padding
    if padding in specials and padding < len(order):
        order.remove(padding)
        order.insert(padding, padding)
    return (*order, *sorted(outside))


def rebuild(vocabulary: Vocabulary, token_ids: tuple[int, ...]) -> Tokenizer:
    """The tokenizer whose id n is the piece `token_ids[n]` of the old one.

    Raises SlonikError when the library does not accept the result.
    """
    new_ids = {old: new for new, old in enumerate(token_ids)}
    content = copy.deepcopy({key: value for key, value in vocabulary.json.items() if key != "model"})
    content["model"] = _model(vocabulary, token_ids, new_ids)
    for token in content["added_tokens"]:
        token["id"] = new_ids[token["id"]]
    content["added_tokens"].sort(key=lambda token: token["id"])
    if content.get("padding"):
        content["padding"]["pad_id"] = new_ids[content["padding"]["pad_id"]]
    _renumber_processor(content.get("post_processor"), new_ids)
    try:
        tokenizer = Tokenizer.from_str(json.dumps(content, ensure_ascii=False))
    except Exception as error:  # the Rust library raises plain Exception
        raise SlonikError(f"the trimmed vocabulary does not make a tokenizer ({error})") from None
    for new, old in enumerate(token_ids):
        if tokenizer.id_to_token(new) != vocabulary.pieces[old]:
            raise SlonikError(f"the tokenizer moves the piece {vocabulary.pieces[old]!r}; it cannot be trimmed")
    return tokenizer


def remap_config(config: dict[str, Any], token_ids: tuple[int, ...]) -> dict[str, Any]:
    """A model config's fields `*_token_id` (one id or a list of them) under the new ids; only those that change.

    Ids that were dropped become None.
    """
    new_ids = {old: new for new, old in enumerate(token_ids)}
    changed: dict[str, Any] = {}
    for key, value in config.items():
        if key.endswith("_token_id") and isinstance(value, int):
            changed[key] = new_ids.get(value)
        elif key.endswith("_token_id") and isinstance(value, list):
            changed[key] = [new_ids[old] for old in value if old in new_ids]
    return {key: value for key, value in changed.items() if value != config[key]}


def _model(vocabulary: Vocabulary, token_ids: tuple[int, ...], new_ids: dict[int, int]) -> dict[str, Any]:
    """The model part: pieces of its own vocabulary, original log-probabilities, merges among kept pieces."""
    old = vocabulary.json["model"]
    model = {key: value for key, value in old.items() if key not in ("vocab", "merges")}
    outside = set(vocabulary.outside)
    inside = [i for i in token_ids if i not in outside]
    if vocabulary.kind == "unigram":
        model["vocab"] = [old["vocab"][i] for i in inside]
        model["unk_id"] = None if old.get("unk_id") is None else new_ids[old["unk_id"]]
        return model
    model["vocab"] = {vocabulary.pieces[i]: new_ids[i] for i in inside}
    if vocabulary.kind == "bpe":
        kept = model["vocab"]
        model["merges"] = [
            [left, right]
            for left, right in map(split_merge, old["merges"])
            if left in kept and right in kept and left + right.removeprefix(vocabulary.prefix) in kept
        ]
    return model


def _renumber_processor(processor: dict[str, Any] | None, new_ids: dict[int, int]) -> None:
    """Renumber the special tokens that a post-processor adds, nested ones too."""
    if not processor:
        return
    for nested in processor.get("processors", []):
        _renumber_processor(nested, new_ids)
    if processor["type"] == "TemplateProcessing":
        for token in processor["special_tokens"].values():
            token["ids"] = [new_ids[old] for old in token["ids"]]
    elif processor["type"] in ("BertProcessing", "RobertaProcessing"):
        for end in ("sep", "cls"):
            token, old = processor[end]
            processor[end] = [token, new_ids[old]]
