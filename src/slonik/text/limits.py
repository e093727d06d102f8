"""How many tokens of a text a checkpoint reads, and how its texts are turned into tokens, as its files say.

    sentence_bert_config.json (or an older name): max_seq_length, do_lower_case;
    tokenizer_config.json: model_max_length, truncation_side; config.json: positions.

Read as sentence-transformers reads them. Needs no torch; what a model in memory has room for is `models.encoder`'s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from slonik.core.errors import SlonikError
from slonik.text.lines import read_json

TRANSFORMER_FILES = tuple(
    f"sentence_{family}_config.json"
    for family in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
USUAL_LENGTH = 512
"""Of a model that sets no limit of its own and whose files name none."""
_NO_LIMIT = 10**6  # tokenizers without a limit say 10**30
_COUNTED_FROM_PADDING = (
    "camembert", "data2vec-text", "esm", "ibert", "longformer", "luke", "mpnet", "roberta", "roberta-prelayernorm",
    "xlm-roberta", "xlm-roberta-xl", "xmod",
)  # fmt: skip  # their positions begin after the padding id
_NO_TABLE = (
    "eurobert", "funnel", "gemma", "gemma2", "gemma3_text", "gte", "jina_embeddings_v3", "llama", "longt5", "ltg_bert",
    "mistral", "modernbert", "mt5", "nomic_bert", "phi3", "qwen2", "qwen3", "roformer", "t5", "t5gemma", "umt5",
    "xlnet",
)  # fmt: skip  # positions are rotated or relative: `max_position_embeddings` is what they were trained on
_NOT_DECIDING = {
    "transformer_task", "modality_config", "module_output_name", "processing_kwargs", "unpad_inputs", "query_length",
    "document_length", "query_expansion", "max_seq_length", "do_lower_case", "model_args", "model_kwargs",
    "tokenizer_args", "processor_kwargs", "config_args", "config_kwargs", "tokenizer_name_or_path", "backend",
}  # fmt: skip
_HARMLESS = {
    "model_kwargs": {"torch_dtype", "dtype", "attn_implementation", "device_map", "low_cpu_mem_usage",
                     "trust_remote_code", "add_pooling_layer", "use_safetensors", "local_files_only", "token",
                     "cache_dir"},
    "processor_kwargs": {"model_max_length", "use_fast", "padding_side", "truncation_side", "trust_remote_code",
                         "local_files_only", "token", "cache_dir", "clean_up_tokenization_spaces"},
    "config_kwargs": {"trust_remote_code", "output_hidden_states", "use_cache", "local_files_only", "token",
                      "cache_dir", "torch_dtype", "dtype"},
}  # fmt: skip
_OLDER = {"model_args": "model_kwargs", "tokenizer_args": "processor_kwargs", "config_args": "config_kwargs"}


@dataclass(frozen=True)
class Input:
    """How texts go into a transformer.

    Attributes:
        max_length: tokens per text, specials included.
        lower_case: texts are put into lower case first.
        truncation_side: which end of a long text is cut off.
        pooler: the transformer itself gives the sentence vector, by its pooler.
    """

    max_length: int = USUAL_LENGTH
    lower_case: bool = False
    truncation_side: Literal["left", "right"] = "right"
    pooler: bool = False


def read_input(folder: Path, *, vectors: bool = True) -> Input:
    """What the files of a transformer's folder say.

    Args:
        vectors: the model is used for vectors: settings that would change them otherwise are refused.

    Raises:
        SlonikError: a file is damaged, or says something that is not supported.
    """
    path = next((folder / name for name in TRANSFORMER_FILES if (folder / name).is_file()), folder / "none")
    content = read_json(path, optional=True)
    pooler = _check(content, path) if vectors else False
    tokenizer = read_json(folder / "tokenizer_config.json", optional=True)
    processor = content.get("processor_kwargs") or content.get("tokenizer_args") or {}
    processor = processor if isinstance(processor, dict) else {}
    config = read_json(folder / "config.json", optional=True)
    side = str(processor.get("truncation_side") or tokenizer.get("truncation_side") or _baked_side(folder)).lower()
    named = processor.get("model_max_length", content.get("max_seq_length"))
    text = (content.get("processing_kwargs") or {}).get("text") or {}
    named = text.get("max_length", named) if vectors and isinstance(text, dict) else named
    return Input(
        _max_length(named, path, tokenizer, config),
        _flag(content, "do_lower_case", path),
        "left" if side == "left" else "right",
        pooler,
    )


def positions(config: Mapping[str, Any]) -> int | None:
    """The most tokens that a model of this config.json has positions for; None = any number."""
    family = _family(config)
    named = config.get("n_positions") if family in ("gpt2", "ctrl", "openai-gpt") else None
    rows = int(named or config.get("max_position_embeddings") or 0)
    if family in _NO_TABLE or (family.startswith("deberta") and config.get("position_biased_input") is False):
        return None
    if rows <= 0:
        return None
    if family in _COUNTED_FROM_PADDING and config.get("position_embedding_type", "absolute") != "rotary":
        padding = 1 if family == "mpnet" else config.get("pad_token_id", 1)
        rows -= int(1 if padding is None else padding) + 1
    return max(1, rows)


def _max_length(named: Any, path: Path, tokenizer: Mapping[str, Any], config: Mapping[str, Any]) -> int:
    hard = positions(config)
    if named is not None:
        if not isinstance(named, int) or isinstance(named, bool) or named <= 0:
            raise SlonikError(f"max_seq_length in {path} is {named!r}: use a whole number over 0, or null")
        length = named if named < _NO_LIMIT else USUAL_LENGTH
    else:
        own = tokenizer.get("model_max_length")
        known = [own] if isinstance(own, int | float) and 0 < own < _NO_LIMIT else []
        nominal = config.get("max_position_embeddings")
        known += [nominal] if isinstance(nominal, int) and nominal > 0 else []
        length = int(min(known, default=USUAL_LENGTH))
    return min(length, hard) if hard is not None else length


def _check(content: Mapping[str, Any], path: Path) -> bool:
    """Refuse what changes vectors and is not supported; returns whether the transformer's pooler gives the vector."""
    task = content.get("transformer_task") or "feature-extraction"
    if task != "feature-extraction":
        raise SlonikError(
            f"transformer_task in {path} is {task!r}, which gives no sentence vectors: only feature-extraction does"
        )
    for name in ("query_expansion", "query_length", "document_length", "tokenizer_name_or_path"):
        if content.get(name) is not None:
            raise SlonikError(
                f"{path} sets {name}, which is not supported here: set it to null, or use sentence-transformers"
            )
    for name, value in content.items():
        group = _OLDER.get(name, name)
        if group in _HARMLESS and isinstance(value, dict):
            odd = sorted(set(value) - _HARMLESS[group])
            if odd:
                raise SlonikError(f"{path} sets {name}.{odd[0]}, which is not supported: it would change the vectors")
        elif name not in _NOT_DECIDING and value:
            raise SlonikError(
                f"{path} sets {name} to {value!r}, which is not known here and may change the vectors: remove it"
            )
    for group, values in (content.get("processing_kwargs") or {}).items():
        odd = sorted(set(values or {}) - {"padding", "truncation", "max_length"}) if group in ("text", "common") else []
        if odd:
            raise SlonikError(f"{path} sets processing_kwargs.{group}.{odd[0]}, which is not supported here")
    ways = content.get("modality_config")
    if not isinstance(ways, dict):
        return False
    way = ways.get("text")
    found = (way.get("method"), way.get("method_output_name")) if isinstance(way, dict) else (None, None)
    out = content.get("module_output_name", "token_embeddings")
    if found == ("forward", "last_hidden_state") and out == "token_embeddings":
        return False
    if found == ("forward", "pooler_output") and out == "sentence_embedding":
        return True
    raise SlonikError(
        f"modality_config in {path} takes {found[1]!r} of {found[0]!r} for texts, which is not supported here: only "
        "last_hidden_state and pooler_output of forward are"
    )


def _flag(content: Mapping[str, Any], name: str, path: Path) -> bool:
    value = content.get(name) or False
    if not isinstance(value, bool):
        raise SlonikError(f"{name} in {path} is {value!r}: use true or false")
    return value


def _baked_side(folder: Path) -> str:
    """The direction in which tokenizer.json itself would cut; it stands at the file's beginning."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        return "right"
    with open(path, "rb") as stream:
        begin = stream.read(400).decode("utf-8", "replace")
    found = re.search(r'"truncation"\s*:\s*\{\s*"direction"\s*:\s*"(\w+)"', begin)
    return found.group(1) if found else "right"


def _family(config: Mapping[str, Any]) -> str:
    name = str(config.get("model_type", ""))
    return name.removeprefix("slonik_").replace("_", "-") if name.startswith("slonik_") else name
