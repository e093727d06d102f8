"""Texts to token ids with the raw `tokenizers` library, and the tokenizer files of a checkpoint.

No Hugging Face wrapper stands in the hot path: it costs three times the tokenisation itself. Truncation is done
here on lists of ids, because the library's own truncation is a mutable setting of the shared tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Encoding, Tokenizer

from slonik.core.atomic import write_json
from slonik.core.errors import SlonikError
from slonik.models.checkpoint_files import read_json

_OLDER_FILES = ("vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spm.model", "spiece.model", "tokenizer.model")
_SPECIAL_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


@dataclass(frozen=True)
class Template:
    """The special ids that a tokenizer puts before and after one text."""

    head: tuple[int, ...]
    tail: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many specials there are."""
        return len(self.head) + len(self.tail)


def template_of(tokenizer: Tokenizer) -> Template:
    """Read the specials around a text from what the tokenizer does to one letter."""
    encoding = tokenizer.encode("а")
    inside = [index for index, special in enumerate(encoding.special_tokens_mask) if not special]
    if not inside:
        return Template(tuple(encoding.ids), ())
    return Template(tuple(encoding.ids[: inside[0]]), tuple(encoding.ids[inside[-1] + 1 :]))


def content_ids(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Ids of each text without specials, not truncated.

    One torch thread means one thread here too: the library would otherwise take every core.
    """
    if len(texts) == 1 or torch.get_num_threads() == 1:
        return [_encode(tokenizer, text).ids for text in texts]
    try:
        batch = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    except (TypeError, UnicodeEncodeError):  # a lone surrogate somewhere: find it text by text
        batch = [_encode(tokenizer, text) for text in texts]
    return [encoding.ids for encoding in batch]


def _encode(tokenizer: Tokenizer, text: str) -> Encoding:
    try:
        return tokenizer.encode(text, add_special_tokens=False)
    except (TypeError, UnicodeEncodeError):
        if not isinstance(text, str):
            raise
        return tokenizer.encode(text.encode("utf-8", "replace").decode("utf-8"), add_special_tokens=False)


def load_tokenizer(folder: Path) -> Tokenizer:
    """The raw tokenizer of a checkpoint folder, its own padding and truncation switched off.

    Without tokenizer.json the older files (vocab.txt, SentencePiece) are converted by transformers.

    Raises:
        SlonikError: there is no tokenizer, or it is damaged.
    """
    path = folder / "tokenizer.json"
    if path.is_file():
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the Rust library raises plain Exception
            raise SlonikError(f"{path} is damaged ({error}): fetch or save the checkpoint again") from None
    else:
        tokenizer = _convert_tokenizer(folder)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def check_vocabulary(tokenizer: Tokenizer, rows: int, where: str) -> None:
    """Refuse a tokenizer with ids that the embedding table of `rows` rows does not have.

    Raises:
        SlonikError: it does not fit.
    """
    size = tokenizer.get_vocab_size()
    if size > rows or tokenizer.id_to_token(rows) is not None:
        raise SlonikError(
            f"the tokenizer of {where} has {size} pieces but the embedding table has {rows} rows: "
            "they do not belong together; use the tokenizer.json that was saved with these weights"
        )


def read_special_names(folder: Path | None) -> dict[str, str]:
    """Names of special tokens ("pad_token" -> "<pad>") from tokenizer_config.json; empty where there is none."""
    names: dict[str, str] = {}
    for file in ("special_tokens_map.json", "tokenizer_config.json"):
        if folder is None or not (folder / file).is_file():
            continue
        content = read_json(folder / file)
        for key in _SPECIAL_NAMES:
            value = content.get(key)
            value = value.get("content") if isinstance(value, dict) else value
            if isinstance(value, str):
                names[key] = value
    return names


def write_tokenizer(tokenizer: Tokenizer, folder: Path, *, names: dict[str, str], max_length: int, types: bool) -> None:
    """Write tokenizer.json, and a tokenizer_config.json that plain AutoTokenizer reads.

    Args:
        names: special tokens by role; those that the vocabulary lacks are left out.
        max_length: tokens per text.
        types: whether the model takes token type ids.
    """
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    inputs = ["input_ids", "token_type_ids", "attention_mask"] if types else ["input_ids", "attention_mask"]
    content: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": max_length}
    content["model_input_names"] = inputs
    content |= {role: token for role, token in names.items() if tokenizer.token_to_id(token) is not None}
    write_json(folder / "tokenizer_config.json", content)


def _convert_tokenizer(folder: Path) -> Tokenizer:
    from transformers import AutoTokenizer

    if not any((folder / name).is_file() for name in _OLDER_FILES):
        # transformers would make an empty tokenizer of nothing
        raise SlonikError(f"{folder} has no tokenizer.json (nor {', '.join(_OLDER_FILES)}): fetch the checkpoint again")
    try:
        wrapper = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        raw = wrapper.backend_tokenizer
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SlonikError(f"{folder} has no tokenizer.json, and none can be made of its files: {reason}") from None
    return Tokenizer.from_str(raw.to_str())
