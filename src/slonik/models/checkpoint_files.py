"""The files of a checkpoint before any of them is loaded: are they there, whole, and where do they come from.

Reads headers only; building a model is `load`'s.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError
from slonik.core.lookup import unknown_name
from slonik.models.tokenizing import read_json

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_PATTERNS = ("*.json", "*.safetensors", "*.txt", "*.model", "1_Pooling/*", "*.py")


def read_config_json(folder: Path) -> dict[str, Any]:
    """The content of config.json.

    Raises:
        SlonikError: it is missing, damaged, or does not say which kind of model it is.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise SlonikError(f"{folder} has no config.json: it is not a checkpoint folder")
    config = read_json(path)
    if not config.get("model_type"):
        raise SlonikError(f'{path} has no model_type: add it (for example "bert") or fetch the checkpoint again')
    return config


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint, one or the shards that its index names.

    Raises:
        SlonikError: there are none; pickled weights are named but not read.
    """
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        shards = read_json(folder / INDEX).get("weight_map", {})
        return [folder / str(name) for name in sorted(set(shards.values()))]
    pickled = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern))
    if pickled:
        raise SlonikError(
            f"{folder} has no {WEIGHTS}, only {pickled[0]}: pickled weights can run code and are not read; "
            "convert them to safetensors first (save_pretrained in transformers does it)"
        )
    raise SlonikError(f"{folder} has no {WEIGHTS}: the weights are missing; fetch or save the checkpoint again")


def check_weights(folder: Path) -> None:
    """Read the headers of the weight files.

    Raises:
        SlonikError: a file is missing, cut short, or not safetensors.
    """
    from safetensors import SafetensorError, safe_open

    for path in weight_files(folder):
        try:
            with safe_open(path, framework="numpy") as opened:
                opened.keys()
        except FileNotFoundError:
            raise SlonikError(f"{path} is missing though {INDEX} names it: fetch the checkpoint again") from None
        except (SafetensorError, OSError) as error:
            reason = " ".join(str(error).split())
            raise SlonikError(
                f"{path} is damaged or cut short ({reason}): fetch or save the checkpoint again"
            ) from None


def hub_folder(name: str) -> Path:
    """A local snapshot of the hub model `name`: config, safetensors, tokenizer, sentence files.

    Raises:
        SlonikError: the name cannot be a hub id, the hub is out of reach, or it has no such model.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(name, allow_patterns=list(_PATTERNS)))
    except HFValidationError:
        raise SlonikError(f"there is no folder {name}") from None
    except Exception as error:  # offline, refused, not found: many classes, none of them ours to mend
        raise SlonikError(_hub_sentence(name, error)) from None


def _hub_sentence(name: str, error: Exception) -> str:
    from huggingface_hub.errors import RepositoryNotFoundError

    known = _known_names()
    if isinstance(error, RepositoryNotFoundError):
        return f"{name} is no folder, and the hub has no model of that name (or it is private)"
    hint = unknown_name(name, known, "baseline or embedded model") if "/" not in name else ""
    sentence = (
        f"{name} is no folder here, and the hub cannot be reached ({type(error).__name__}): "
        "copy the checkpoint to a folder and pass that, or use embedded:multilingual-e5-small"
    )
    return f"{sentence}; {hint}" if hint else sentence


def _known_names() -> list[str]:
    from slonik.models.baselines import BASELINES
    from slonik.models.embedded import CHECKPOINTS, PREFIX

    return [*BASELINES, *(PREFIX + name for name in CHECKPOINTS), PREFIX + "use-multilingual-3"]
