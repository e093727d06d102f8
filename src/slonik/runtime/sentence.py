"""The sentence-transformers files of a folder, read without pydantic.

The same fields and meaning as `slonik.text.sentence_config.SentenceConfig`, which also writes the files; a test holds
the two equal. That class costs 15 MiB and a tenth of a second to import, which a process that only encodes can save.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError

_MODES = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
_POOLINGS = ("mean", "cls", "pooler")


@dataclass(frozen=True)
class SentenceSettings:
    """Pooling and prefixes of a sentence encoder.

    Attributes:
        pooling: "mean", "cls" or "pooler".
        normalize: divide by the L2 norm.
        max_length: tokens per text, specials included.
        prefixes: name -> text put before each input.
        default_prefix: name of the prefix used when the caller names none; None = no prefix.
    """

    pooling: str = "mean"
    normalize: bool = True
    max_length: int = 512
    prefixes: dict[str, str] = field(default_factory=dict)
    default_prefix: str | None = None

    def prefix(self, given: str | None) -> str:
        """The prefix text to use: `given` as it is, or the default where it is None."""
        if given is not None:
            return given
        return self.prefixes.get(self.default_prefix, "") if self.default_prefix else ""

    def model_copy(self, *, update: Mapping[str, Any] | None = None) -> SentenceSettings:
        """A copy with some fields changed, as `SentenceConfig` has it."""
        return replace(self, **(update or {}))

    def model_dump(self) -> dict[str, Any]:
        """The fields as a dict, as `SentenceConfig` has it."""
        return asdict(self)

    @classmethod
    def read(cls, folder: Path) -> SentenceSettings:
        """The settings in `folder`, defaults where files are missing.

        Raises:
            SlonikError: a file is there but is not JSON, or holds something that is not supported.
        """
        values: dict[str, Any] = {}
        if pooling := _read(folder / "1_Pooling" / "config.json"):
            values["pooling"] = _pooling(pooling, folder)
        modules = _read(folder / "modules.json")
        if modules is not None:
            values["normalize"] = any("Normalize" in str(module.get("type")) for module in modules)
        if length := (_read(folder / "sentence_bert_config.json") or {}).get("max_seq_length"):
            values["max_length"] = _length(length, folder)
        if prompts := _read(folder / "config_sentence_transformers.json"):
            values["prefixes"] = prompts.get("prompts") or {}
            values["default_prefix"] = prompts.get("default_prompt_name")
        return cls(**values)


def _pooling(content: dict[str, Any], folder: Path) -> str:
    named = content.get("slonik_pooling") or content.get("pooling_mode")
    if named in _POOLINGS:
        return str(named)
    found = next((name for mode, name in _MODES.items() if content.get(mode)), None)
    if found is None:
        raise SlonikError(
            f"{folder / '1_Pooling' / 'config.json'} names a pooling that is not supported: use mean or cls"
        )
    return found


def _length(value: Any, folder: Path) -> int:
    if isinstance(value, int) and value > 0:
        return value
    raise SlonikError(
        f"max_seq_length in {folder / 'sentence_bert_config.json'} is {value!r}: use a whole number over 0"
    )


def _read(path: Path) -> Any:
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SlonikError(f"{path} is not readable JSON ({error}): repair it or fetch the checkpoint again") from None
