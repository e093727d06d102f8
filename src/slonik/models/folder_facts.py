"""Everything that a checkpoint folder says about itself, read from its files without loading a model.

For `slonik show`, reports and model cards. Needs no torch; a folder that holds only an exported model is read
as far as its files go.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.models.checkpoint_files import (
    WEIGHTS,
    hash_weights,
    read_config_json,
    read_json,
    read_tensors,
    weight_files,
)
from slonik.models.describe import describe_tensors, loader_of
from slonik.text.sentence_config import SentenceConfig

_MODEL_FILES = (".safetensors", ".onnx", ".data", ".onnx_data", ".crfsuite")
_TAGGER_FILE = "tagger.json"


def folder_facts(folder: Path) -> dict[str, Any]:
    """Facts about the checkpoint in `folder`.

    Returns:
        folder, loader, facts (as `describe_tensors`; weights_hash), sentence (pooling, prefixes, length), files
        (name -> bytes of every weight file, exported ones too), disk_bytes (the whole folder), passport.

    Raises:
        SlonikError: no such folder, it is no checkpoint, or one of its files is damaged.
    """
    if not folder.is_dir():
        raise SlonikError(f"there is no folder {folder}: pass a checkpoint folder or embedded:NAME")
    if (folder / _TAGGER_FILE).is_file():
        return _tagger_facts(folder)
    config = read_config_json(folder)
    files = _model_files(folder)
    exported = any(name.endswith(".onnx") for name in files)
    facts: dict[str, Any]
    if exported and not any(name.endswith(".safetensors") for name in files):
        facts = {key: config.get(key) for key in ("model_type", "vocab_size", "hidden_size", "num_hidden_layers")}
        loader = "slonik.load (onnxruntime, no torch)"
    else:
        weight_files(folder)  # says what is missing
        tensors = read_tensors(folder)
        facts = describe_tensors(config, tensors)
        facts["weights_hash"] = hash_weights(tensors)
        loader = loader_of(config) + (", or slonik.load (onnxruntime, no torch)" if exported else "")
    sentence = SentenceConfig.read(folder)
    return {
        "folder": folder.name,
        "loader": loader,
        "facts": facts,
        "sentence": asdict(sentence) if (folder / "modules.json").exists() else None,
        "files": files,
        "disk_bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
        "passport": Passport.read(folder).model_dump(mode="json"),
    }


def _model_files(folder: Path) -> dict[str, int]:
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name.endswith(_MODEL_FILES)
    }


def _tagger_facts(folder: Path) -> dict[str, Any]:
    """The same facts of a tagger that is no transformer: a BiLSTM (its weights are read), or a CRF over features."""
    content = read_json(folder / _TAGGER_FILE)
    facts: dict[str, Any] = {"model_type": f"tagger, {content.get('kind')}", "labels": list(content.get("labels", ()))}
    facts |= {"parameters": content.get("parameters"), "weights_hash": content.get("sha256")}
    if (folder / WEIGHTS).is_file():
        tensors = read_tensors(folder)
        facts["parameters"] = sum(info.count for info in tensors.values())
        facts["encoder_parameters"] = facts["parameters"]
        facts["weights_hash"] = hash_weights(tensors)
    files = _model_files(folder)
    return {
        "folder": folder.name,
        "loader": "slonik.tagging.models.load_tagger (slonik tag)",
        "facts": facts | {"bytes": sum(files.values())},
        "sentence": None,
        "files": files,
        "disk_bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
        "passport": Passport.read(folder).model_dump(mode="json"),
    }
