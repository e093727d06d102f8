"""Which ONNX file of a folder to open, and onnxruntime sessions set up for text encoders.

Nothing here knows about tokens or pooling.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import onnxruntime

from slonik.core.errors import SlonikError
from slonik.core.processors import available_processors
from slonik.runtime.onnx_header import METADATA_KEY, check_version
from slonik.text.lines import read_json
from slonik.text.prompts import is_generator

_PASSPORT = "passport.json"

__all__ = ["METADATA_KEY", "available_threads", "check_parent", "choose_file", "open_session", "read_metadata"]

PREFERRED = ("model_quantized.onnx", "model.onnx", "model_fp16.onnx")
# Its kernel takes 55 us where Add and LayerNormalization together take 8 (29 tokens of 384; see docs/runtime.md).
_SLOW_FUSIONS = ["SkipLayerNormFusion"]
_INPUTS = {"input_ids", "attention_mask"}


def choose_file(folder: Path, file: str | None = None) -> Path:
    """The ONNX file to open: `file` of `folder`/onnx, or the int8 one, else fp32, else fp16.

    Raises:
        SlonikError: no such folder or file; what there is is listed.
    """
    if not folder.is_dir():
        raise SlonikError(f"there is no folder {folder}: pass a folder written by slonik export")
    place = folder / "onnx"
    names = sorted(path.name for path in place.glob("*.onnx"))
    if is_generator(folder):
        raise SlonikError(f"{folder} was exported to write: use slonik generate, or export it again with --as encoder")
    if not names:
        raise SlonikError(f"{folder} holds no onnx/*.onnx: make such a folder with slonik export {folder} --out DIR")
    if file is not None:
        name = Path(file).name
        if name not in names:
            raise SlonikError(f"{folder} has no onnx/{name}: it has {', '.join(names)}")
        return place / name
    return place / next((name for name in PREFERRED if name in names), names[0])


def open_session(
    path: Path, *, threads: int, inputs: Iterable[str] = _INPUTS, what: str = "a text encoder"
) -> onnxruntime.InferenceSession:
    """A CPU session over `path` on `threads` threads.

    Args:
        inputs: what the graph must take, and `what`, as a sentence calls such a graph.

    Raises:
        SlonikError: the file is damaged, needs a newer onnxruntime, or is not such a graph.
    """
    check_version(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Idle threads of a library should not burn the cores of the program around it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # A processor without VNNI adds two int8 products in 16 bits, which overflow (cosine to fp32 .993 instead of .997
    # for a four-layer encoder); exact sums cost it a sixth of the time, and nothing changes where there is VNNI.
    options.add_session_config_entry("session.x64quantprecision", "1")
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=_SLOW_FUSIONS
        )
    except Exception as error:  # the library raises its own classes, all of them plain Exception
        raise SlonikError(f"{path} cannot be opened ({_first_line(error)}): {_advice(error)}") from None
    missing = set(inputs) - {item.name for item in session.get_inputs()}
    if missing or not session.get_outputs():
        raise SlonikError(f"{path} is not {what}: it has no input {', '.join(sorted(missing))}")
    return session


def available_threads() -> int:
    """Processors that this process may use, a container's quota counted."""
    return available_processors()


def read_metadata(session: onnxruntime.InferenceSession) -> dict[str, Any]:
    """What slonik's exporter wrote into the file; empty for files of other tools."""
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if not text:
        return {}
    content = json.loads(text)
    return content if isinstance(content, dict) else {}


def check_parent(file: Path, weights: Any, folder: Path) -> None:
    """Refuse a file that was made from other weights than the folder's passport names.

    Args:
        weights: hash of those that the file says it was made from; None where it does not say.

    Raises:
        SlonikError: it is the file of another model.
    """
    lineage = read_json(folder / _PASSPORT, optional=True).get("lineage") or [{}]
    last = lineage[-1] if isinstance(lineage, list) and isinstance(lineage[-1], dict) else {}
    parent = (last.get("inputs") or {}).get("parent") if last.get("command") == "export" else None
    if isinstance(parent, str) and weights not in (None, parent):
        raise SlonikError(
            f"{file} was made from other weights than the passport of {folder} names: it is the file of another "
            "model; export the checkpoint again"
        )


def _advice(error: Exception) -> str:
    """What to do about a file that the library refuses: one of another tool may be of a newer ONNX than it knows."""
    said = str(error).lower()
    if any(words in said for words in ("ir version", "opset", "is not a registered function")):
        return f"it may be for a newer onnxruntime than {onnxruntime.__version__}: pip install --upgrade onnxruntime"
    return "fetch it again, or make it again with slonik export"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
