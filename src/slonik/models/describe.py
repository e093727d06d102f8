"""What a model is: parameters, bytes, shape, FLOPs from tensor shapes and config.json; and all that its folder says.

Works on a folder's headers as on a model in memory, for stock and uneven shapes; loads no weights, needs no torch.
A folder that holds only an exported model is read as far as its files go.

FLOPs of one text of T tokens through the encoder (a multiplication and an addition are two):

    2 * T * P  +  sum over layers of 4 * T * min(T, window) * width

P: values of all matrices that each token is multiplied by (query, key, value, output, feed-forward; not
embeddings, norms, biases, pooler or heads). width: query width of the layer (heads x head size); scores and
their weighted sum cost 2 * T * width each per attended position; window: the layer's attention span where it is
local (ModernBERT), else T. DeBERTa's position terms (and LTG-BERT's) add, per layer, 2 * 2 * span * hidden * width
for each of the position key and query projections and 2 * T * 2 * span * width for each of the two score terms.
Softmax, norms and activations are left out: under 2 % at these sizes. The rest agrees with torch's own counter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.models.checkpoint_files import (
    WEIGHTS,
    TensorInfo,
    hash_weights,
    read_config_json,
    read_tensors,
    weight_files,
)
from slonik.models.distributions import FILE_NAME as DISTRIBUTION
from slonik.models.kinds import STOCK_HEADS, family_of, has_weights
from slonik.runtime.static import load as load_static
from slonik.text import TAGGER_FILE
from slonik.text.lines import read_json
from slonik.text.pipeline_files import is_static, transformer_folder
from slonik.text.prompts import is_generator
from slonik.text.sentence_config import SentenceConfig

TEXT_TOKENS = 32  # the length that `flops_per_text` is given for

_BASE_PREFIXES = ("bert.", "roberta.", "deberta.", "model.", "transformer.", "encoder_model.", "electra.", "ltg_bert.")
_HEADS = ("cls.", "lm_head.", "classifier.", "head.", "decoder.", "lm_predictions.", "mask_predictions.", "qa_outputs.")
_EMBEDDINGS = ("embeddings.", "wte.", "wpe.", "shared.", "embed_tokens.")
_PROJECTION = "embeddings_project.weight"  # ELECTRA's, from the embedding width to the hidden width
_WORDS = re.compile(r"(word_embeddings|tok_embeddings|wte|shared|embed_tokens)\.weight$")
_LAYER = re.compile(r"(?:^|\.)(?:layers?|h|block)\.(\d+)\.")
_QUERY = re.compile(r"\.(query|query_proj|q_proj|q_lin|q)\.weight$")
_FUSED_QUERY = re.compile(r"\.(Wqkv|c_attn)\.weight$")
_FFN = re.compile(r"(?<!attention)\.(intermediate\.dense|fc1|lin1|wi|wi_0|up_proj|c_fc)\.weight$")
_PAIRED_QUERY = re.compile(r"\.query_key\.weight$")  # LTG-BERT's
_MODEL_FILES = (".safetensors", ".onnx", ".data", ".onnx_data", ".crfsuite")
_FUSED_FFN = re.compile(r"\.(Wi|feed_forward\.inner)\.weight$")


@dataclass(frozen=True)
class Description:
    """Everything that is known of a model without running it.

    Attributes:
        model: what the user called it.
        loader: which library call opens it.
        facts: as `describe_tensors` gives them, weights_hash, dimension of a sentence vector; of what is no checkpoint,
            what it says of itself.
        passport: lineage and records.
        sentence: pooling, prefixes, length; None where the folder does not say.
        files: name -> bytes of every weight file, exported ones too.
        folder: None for what has none. disk_bytes: of the whole folder.
    """

    model: str
    loader: str
    facts: dict[str, Any]
    passport: Passport
    sentence: SentenceConfig | None = None
    files: dict[str, int] = field(default_factory=dict)
    folder: Path | None = None
    disk_bytes: int = 0

    def __str__(self) -> str:
        """The most of it in a few lines; `facts` and `passport` have the rest."""
        facts, steps, sentence = self.facts, self.passport.lineage, self.sentence
        layers, count = facts.get("layers") or facts.get("num_hidden_layers"), facts.get("parameters")
        lines = {
            "model": self.model,
            "loader": self.loader,
            "kind": " / ".join(str(facts[key]) for key in ("architecture", "model_type") if facts.get(key)),
            "parameters": "" if count is None else f"{count:,}",
            "bytes": f"{facts.get('bytes') or sum(self.files.values()):,}",
            "layers": layers,
            "dimension": facts.get("dimension") or facts.get("hidden") or facts.get("hidden_size"),
            "vocabulary": facts.get("vocab") or facts.get("vocab_size"),
            "pooling": sentence and f"{sentence.in_words()}, at most {sentence.max_length} tokens",
            "origin": self.passport.origin,
            "lineage": ", ".join(step.command for step in steps),
            "records": str(len(self.passport.records)),
        }
        return "\n".join(f"{name}: {value}" for name, value in lines.items() if value)

    def content(self) -> dict[str, Any]:
        """The same as a JSON object; of the folder its name alone."""
        where = {} if self.folder is None else {"folder": self.folder.name, "disk_bytes": self.disk_bytes}
        return {
            "model": self.model,
            **where,
            "loader": self.loader,
            "facts": self.facts,
            "sentence": self.sentence and {**self.sentence.facts(), "max_length": self.sentence.max_length},
            "files": self.files,
            "passport": self.passport.model_dump(mode="json"),
        }


def describe_folder(folder: Path, *, name: str | None = None) -> Description:
    """What the files in `folder` say of the model.

    Args:
        name: what the user called it; None = the folder's name.

    Raises:
        SlonikError: no such folder, it is no checkpoint, or one of its files is damaged.
    """
    if not folder.is_dir():
        raise SlonikError(f"there is no folder {folder}: pass a checkpoint folder or embedded:NAME")
    files = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name.endswith(_MODEL_FILES)
    }
    exported = any(file.endswith(".onnx") for file in files)
    runtime = f"slonik.{'generate' if is_generator(folder) else 'load'} (onnxruntime, no torch)"
    if (folder / TAGGER_FILE).is_file():
        facts, loader = _tagger_facts(folder), "slonik.tagging.models.load_tagger (slonik tag)"
        facts["bytes"] = sum(files.values())
    elif is_static(folder):
        facts, loader = load_static(folder).describe(), "slonik.load (no torch)"
    elif exported and not has_weights(folder):
        config = read_config_json(folder)
        facts = {key: config.get(key) for key in ("model_type", "vocab_size", "hidden_size", "num_hidden_layers")}
        facts |= read_json(folder / DISTRIBUTION, optional=True).get("facts", {})  # what its package says of it
        loader = runtime
    else:
        inside = transformer_folder(folder)
        config = read_config_json(inside)
        weight_files(inside)  # says what is missing
        tensors = read_tensors(inside)
        facts = describe_tensors(config, tensors) | {"weights_hash": hash_weights(tensors)}
        loader = loader_of(config) + (f", or {runtime}" if exported else "")
    sentence, hidden = _sentence(folder, facts), facts.get("hidden") or facts.get("hidden_size")
    if sentence is not None and hidden:
        facts["dimension"] = sentence.dimension(int(hidden))
    return Description(
        name or folder.name,
        loader,
        facts,
        Passport.read(folder),
        sentence=sentence,
        files=files,
        folder=folder,
        disk_bytes=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
    )


def _sentence(folder: Path, facts: Mapping[str, Any]) -> SentenceConfig | None:
    """How sentence vectors are made, where the folder says so and is not that of a head."""
    head = str(facts.get("architecture")).endswith(STOCK_HEADS) or is_static(folder)
    return SentenceConfig.read(folder) if (folder / "modules.json").exists() and not head else None


def _tagger_facts(folder: Path) -> dict[str, Any]:
    """Of a tagger that is no transformer: a BiLSTM (its weights are read), or a CRF over features."""
    content = read_json(folder / TAGGER_FILE)
    facts: dict[str, Any] = {"model_type": f"tagger, {content.get('kind')}", "labels": list(content.get("labels", ()))}
    facts |= {"parameters": content.get("parameters"), "weights_hash": content.get("sha256")}
    if (folder / WEIGHTS).is_file():
        tensors = read_tensors(folder)
        facts["parameters"] = facts["encoder_parameters"] = sum(info.count for info in tensors.values())
        facts["weights_hash"] = hash_weights(tensors)
    return facts


def describe_tensors(config: Mapping[str, Any], tensors: Mapping[str, TensorInfo]) -> dict[str, Any]:
    """Facts about a model.

    Args:
        config: the content of config.json.
        tensors: name -> type and shape, as `checkpoint_files.read_tensors` or a state dict gives them.

    Returns:
        model_type, architecture; parameters, embedding_parameters, encoder_parameters (all that is neither
        embedding nor task head), head_parameters; bytes, dtype; vocab, hidden, layers, heads and ffn (one number,
        or a list where layers differ), head_size; flops_per_token (matrices only), flops_per_text (TEXT_TOKENS).
    """
    weights = {_base_name(name): info for name, info in tensors.items() if "position_ids" not in name}
    heads = {name for name in weights if name.startswith(_HEADS)}
    embeddings = {name for name in weights if name.startswith(_EMBEDDINGS)}
    total = sum(info.count for info in weights.values())
    in_embeddings = sum(weights[name].count for name in embeddings)
    in_heads = sum(weights[name].count for name in heads)
    widths, ffn = layer_sizes(weights)
    head_size = _head_size(config)
    words = next((info for name, info in weights.items() if _WORDS.search(name)), None)
    return {
        "model_type": config.get("model_type"),
        "architecture": (config.get("architectures") or [None])[0],
        "parameters": total,
        "embedding_parameters": in_embeddings,
        "encoder_parameters": total - in_embeddings - in_heads,
        "head_parameters": in_heads,
        "bytes": sum(info.bytes for info in weights.values()),
        "dtype": "/".join(sorted({info.dtype for info in weights.values()})),
        "vocab": words.shape[0] if words else config.get("vocab_size"),
        "hidden": _hidden(config) or (words.shape[1] if words else None),
        "layers": len(widths),
        "heads": _one_or_all([width // head_size for width in widths]) if head_size else None,
        "head_size": head_size,
        "ffn": _one_or_all(ffn),
        "flops_per_token": 2 * _matrix_values(weights),
        "flops_per_text": flops_per_text(config, tensors, TEXT_TOKENS),
        "text_tokens": TEXT_TOKENS,
    }


def flops_per_text(config: Mapping[str, Any], tensors: Mapping[str, TensorInfo], tokens: int) -> int:
    """FLOPs of the encoder on one text of `tokens` tokens, specials included, by the module's formula."""
    weights = {_base_name(name): info for name, info in tensors.items()}
    widths, _ = layer_sizes(weights)
    total = 2 * tokens * _matrix_values(weights)
    for layer, width in enumerate(widths):
        total += 4 * tokens * min(tokens, _window(config, layer, tokens)) * width
    return total + _deberta_flops(config, widths, tokens)


def layer_sizes(tensors: Mapping[str, TensorInfo]) -> tuple[list[int], list[int]]:
    """Per layer: query width (heads x head size) and feed-forward width, read from the matrices' shapes.

    Layers of an encoder-decoder are counted over its encoder.
    """
    widths: dict[int, int] = {}
    ffn: dict[int, int] = {}
    for name, info in tensors.items():
        found = _LAYER.search(name)
        if found is None or len(info.shape) != 2 or name.startswith(_HEADS):
            continue
        layer = int(found.group(1))
        if _QUERY.search(name):
            widths[layer] = info.shape[0]
        elif _FUSED_QUERY.search(name):
            widths[layer] = info.shape[1 if name.endswith("c_attn.weight") else 0] // 3
        elif _PAIRED_QUERY.search(name):
            widths[layer] = info.shape[0] // 2
        elif _FUSED_FFN.search(name):
            ffn[layer] = info.shape[0] // 2
        elif _FFN.search(name):
            ffn[layer] = info.shape[1] if name.endswith("c_fc.weight") else info.shape[0]
    layers = sorted(set(widths) | set(ffn))
    return [widths.get(layer, 0) for layer in layers], [ffn.get(layer, 0) for layer in layers]


def loader_of(config: Mapping[str, Any]) -> str:
    """Which library call opens a checkpoint with this config."""
    if str(config.get("model_type", "")).startswith("slonik") or config.get("model_type") == "ltg_bert":
        return "slonik.load (elsewhere: AutoModel with trust_remote_code=True)"
    if config.get("auto_map"):
        return "AutoModel with trust_remote_code=True (slonik: --trust-remote-code)"
    return "stock AutoModel.from_pretrained"


def _base_name(name: str) -> str:
    for prefix in _BASE_PREFIXES:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


def _matrix_values(tensors: Mapping[str, TensorInfo]) -> int:
    """Values of the matrices inside the layers: what each token is multiplied by."""
    return sum(info.count for name, info in tensors.items() if len(info.shape) == 2 and _multiplies(name))


def _multiplies(name: str) -> bool:
    """Whether each token of a text is multiplied by the matrix `name`: no tables, no heads, no decoder."""
    inside = _LAYER.search(name) is not None and not name.startswith(_HEADS)
    return (inside and "embed" not in name and "attention_bias" not in name) or name == _PROJECTION


def _head_size(config: Mapping[str, Any]) -> int | None:
    for key in ("head_size", "head_dim", "attention_head_size", "d_kv"):
        if config.get(key):
            return int(config[key])
    heads = _first(config, "num_attention_heads", "n_head", "n_heads", "num_heads")
    hidden = _hidden(config)
    return hidden // heads if hidden and heads else None


def _hidden(config: Mapping[str, Any]) -> int | None:
    return _first(config, "hidden_size", "n_embd", "d_model", "dim")


def _first(config: Mapping[str, Any], *keys: str) -> int | None:
    return next((config[key] for key in keys if isinstance(config.get(key), int)), None)


def _window(config: Mapping[str, Any], layer: int, tokens: int) -> int:
    """Attended positions per token in `layer`."""
    if family_of(str(config.get("model_type"))) != "modernbert":
        return tokens
    kinds = config.get("layer_types")
    if kinds:
        is_global = layer >= len(kinds) or "full" in kinds[layer]
    else:
        is_global = layer % int(config.get("global_attn_every_n_layers", 3)) == 0
    return tokens if is_global else int(config.get("local_attention", 128)) + 1


def _deberta_flops(config: Mapping[str, Any], widths: list[int], tokens: int) -> int:
    hidden = int(config.get("hidden_size", 0))
    if family_of(str(config.get("model_type"))) == "ltg_bert":
        table = 2 * int(config.get("position_bucket_size", 32)) - 1
        return sum(2 * (2 * table * hidden * width + 2 * tokens * table * width) for width in widths)
    if not (family_of(str(config.get("model_type"))) == "deberta-v2" and config.get("relative_attention")):
        return 0
    span = int(config.get("position_buckets", -1))
    if span <= 0:
        reach = int(config.get("max_relative_positions", -1))
        span = reach if reach > 0 else int(config.get("max_position_embeddings", 512))
    terms = config.get("pos_att_type") or []
    terms = terms.split("|") if isinstance(terms, str) else terms
    terms = [term for term in terms if term in ("c2p", "p2c")]
    return sum(len(terms) * (4 * span * hidden * width + 4 * tokens * span * width) for width in widths)


def _one_or_all(sizes: list[int]) -> int | list[int] | None:
    if not sizes:
        return None
    return sizes[0] if len(set(sizes)) == 1 else sizes
