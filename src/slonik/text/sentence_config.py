"""How a checkpoint turns token vectors into a sentence vector: pooling, normalisation, length, prefixes.

Stored in the files that sentence-transformers reads (`modules.json`, `1_Pooling/config.json`,
`sentence_bert_config.json`, `config_sentence_transformers.json`), so that the folder means the same there.
A folder without these files gets the defaults: mean pooling, normalised, no prefix.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from slonik.core.atomic import write_json
from slonik.core.config import Config
from slonik.core.errors import SlonikError

Pooling = Literal["mean", "cls", "pooler"]

_MODES = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}


class SentenceConfig(Config):
    """Pooling and prefixes of a sentence encoder.

    Attributes:
        pooling: "mean" over tokens that are not padding, "cls" (first token), or "pooler" (the model's own head).
        normalize: divide by the L2 norm.
        max_length: tokens per text, specials included.
        prefixes: name -> text put before each input, e.g. {"query": "query: "}.
        default_prefix: name of the prefix used when the caller names none; None = no prefix.
    """

    pooling: Pooling = "mean"
    normalize: bool = True
    max_length: int = 512
    prefixes: dict[str, str] = {}
    default_prefix: str | None = None

    def prefix(self, given: str | None) -> str:
        """The prefix text to use: `given` as it is, or the default where it is None."""
        if given is not None:
            return given
        return self.prefixes.get(self.default_prefix, "") if self.default_prefix else ""

    def write(self, folder: str | Path, dimension: int) -> None:
        """Write the four files into `folder`; `dimension` is D of the vectors."""
        root = Path(folder)
        write_json(root / "modules.json", _modules(self.normalize))
        pooling: dict[str, Any] = {"word_embedding_dimension": dimension, "include_prompt": True}
        pooling |= {mode: name == self.pooling for mode, name in _MODES.items()}
        if self.pooling == "pooler":
            pooling["slonik_pooling"] = "pooler"
            pooling["pooling_mode_cls_token"] = True
        write_json(root / "1_Pooling" / "config.json", pooling)
        write_json(root / "sentence_bert_config.json", {"max_seq_length": self.max_length, "do_lower_case": False})
        prompts = {"prompts": self.prefixes, "default_prompt_name": self.default_prefix, "similarity_fn_name": "cosine"}
        write_json(root / "config_sentence_transformers.json", prompts)

    @classmethod
    def read(cls, folder: str | Path) -> SentenceConfig:
        """The configuration in `folder`, defaults where files are missing.

        Raises:
            SlonikError: a file is there but is not JSON, or names a pooling that is not supported.
        """
        root = Path(folder)
        values: dict[str, Any] = {}
        if pooling := _read(root / "1_Pooling" / "config.json"):
            values["pooling"] = _pooling(pooling, root)
        if (root / "modules.json").exists():
            values["normalize"] = any("Normalize" in str(module.get("type")) for module in _read(root / "modules.json"))
        if length := (_read(root / "sentence_bert_config.json") or {}).get("max_seq_length"):
            values["max_length"] = length
        if prompts := _read(root / "config_sentence_transformers.json"):
            values["prefixes"] = prompts.get("prompts") or {}
            values["default_prefix"] = prompts.get("default_prompt_name")
        return cls(**values)


def _pooling(content: dict[str, Any], root: Path) -> str:
    if content.get("slonik_pooling") == "pooler":
        return "pooler"
    if content.get("pooling_mode") in ("mean", "cls"):  # the newer one-field form
        return str(content["pooling_mode"])
    for mode, name in _MODES.items():
        if content.get(mode):
            return name
    raise SlonikError(f"{root / '1_Pooling' / 'config.json'} names a pooling that is not supported: use mean or cls")


def _modules(normalize: bool) -> list[dict[str, Any]]:
    kinds = ["Transformer", "Pooling"] + (["Normalize"] if normalize else [])
    paths = ["", "1_Pooling", "2_Normalize"]
    return [
        {"idx": index, "name": str(index), "path": paths[index], "type": f"sentence_transformers.models.{kind}"}
        for index, kind in enumerate(kinds)
    ]


def _read(path: Path) -> Any:
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SlonikError(f"{path} is not readable JSON ({error}): repair it or fetch the checkpoint again") from None
