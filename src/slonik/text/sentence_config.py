"""How a checkpoint turns token vectors into a sentence vector: pooling, normalisation, length, prefixes.

Stored in the files that sentence-transformers reads (`modules.json`, `1_Pooling/config.json`,
`sentence_bert_config.json`, `config_sentence_transformers.json`), so that the folder means the same there.
A folder without these files gets the defaults: mean pooling, normalised, no prefix. A plain dataclass: pydantic costs
15 MiB and a tenth of a second, which a process that only encodes can save.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from slonik.core.errors import SlonikError
from slonik.text.lines import read_json

Pooling = Literal["mean", "cls", "pooler"]

_POOLINGS: tuple[str, ...] = get_args(Pooling)
_MODES = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}


@dataclass(frozen=True)
class SentenceConfig:
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
    prefixes: dict[str, str] = field(default_factory=dict)
    default_prefix: str | None = None

    def prefix(self, given: str | None) -> str:
        """The prefix text to use: `given` as it is, or the default where it is None."""
        if given is not None:
            return given
        return self.prefixes.get(self.default_prefix, "") if self.default_prefix else ""

    def facts(self) -> dict[str, Any]:
        """What an encoder's `describe` says of it."""
        prefixes = {"prefixes": dict(self.prefixes), "default_prefix": self.default_prefix}
        return {"pooling": self.pooling, "normalize": self.normalize, **prefixes}

    def write(self, folder: str | Path, dimension: int) -> None:
        """Write the four files into `folder`; `dimension` is D of the vectors."""
        from slonik.core.files import write_json  # its hashing and locks cost a process that only reads 6 MiB

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
            SlonikError: a file is there but is not JSON, or holds something that is not supported.
        """
        root = Path(folder)
        values: dict[str, Any] = {}
        if pooling := read_json(root / "1_Pooling" / "config.json", optional=True):
            values["pooling"] = _pooling(pooling, root)
        if (root / "modules.json").exists():
            modules = read_json(root / "modules.json", list)
            values["normalize"] = any("Normalize" in str(module.get("type")) for module in modules)
        if length := read_json(root / "sentence_bert_config.json", optional=True).get("max_seq_length"):
            values["max_length"] = _length(length, root)
        if prompts := read_json(root / "config_sentence_transformers.json", optional=True):
            values["prefixes"] = prompts.get("prompts") or {}
            values["default_prefix"] = prompts.get("default_prompt_name")
        return cls(**values)


def _pooling(content: dict[str, Any], root: Path) -> str:
    named = content.get("slonik_pooling") or content.get("pooling_mode")  # the second is the newer one-field form
    if named in _POOLINGS:
        return str(named)
    found = next((name for mode, name in _MODES.items() if content.get(mode)), None)
    if found is None:
        raise SlonikError(
            f"{root / '1_Pooling' / 'config.json'} names a pooling that is not supported: use mean or cls"
        )
    return found


def _length(value: Any, root: Path) -> int:
    if isinstance(value, int) and value > 0:
        return value
    raise SlonikError(f"max_seq_length in {root / 'sentence_bert_config.json'} is {value!r}: use a whole number over 0")


def _modules(normalize: bool) -> list[dict[str, Any]]:
    kinds = ["Transformer", "Pooling"] + (["Normalize"] if normalize else [])
    paths = ["", "1_Pooling", "2_Normalize"]
    return [
        {"idx": index, "name": str(index), "path": paths[index], "type": f"sentence_transformers.models.{kind}"}
        for index, kind in enumerate(kinds)
    ]
