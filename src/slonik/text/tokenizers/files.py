"""Write a tokenizer as a folder that plain AutoTokenizer and every other client read.

Does: tokenizer.json and tokenizer_config.json (roles of special tokens, longest text, inputs of the model).
Does not: write a model; checkpoints with weights are saved by slonik.models.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from slonik.core.atomic import write_json, write_text
from slonik.core.errors import SlonikError
from slonik.text.tokenizers.families import Family


def write_tokenizer_folder(tokenizer: Tokenizer, specials: Family, folder: Path, *, max_length: int = 512) -> None:
    """Write the tokenizer's files into `folder`, which must be there.

    Raises SlonikError when a special token is not in the vocabulary, or the disk is full.
    """
    for token in (*specials.first, *specials.last):
        if tokenizer.token_to_id(token) is None:
            raise SlonikError(f"the special token {token} is not in the vocabulary")
    write_text(folder / "tokenizer.json", tokenizer.to_str(pretty=False))
    inputs = ["input_ids", *["token_type_ids"] * specials.type_ids, "attention_mask"]
    content: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": max_length}
    content |= {"model_input_names": inputs, "clean_up_tokenization_spaces": False, **specials.roles}
    write_json(folder / "tokenizer_config.json", content)


def open_tokenizer(place: Path) -> Tokenizer:
    """The tokenizer in a folder or a tokenizer.json file, without truncation and padding.

    Raises SlonikError when there is none or it is damaged.
    """
    path = place / "tokenizer.json" if place.is_dir() else place
    if not path.is_file():
        raise SlonikError(f"there is no tokenizer {path}")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust library raises plain Exception
        raise SlonikError(f"{path} is not a tokenizer ({error})") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
