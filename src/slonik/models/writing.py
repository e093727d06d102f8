"""A model that writes, by its name alone: an exported folder on onnxruntime without torch, any other in torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from slonik.core.config import build_config
from slonik.core.errors import SlonikError, missing_extra
from slonik.runtime.sampling import SamplingConfig
from slonik.runtime.writing import Generated, Writer, continuations
from slonik.text.prompts import is_generator


def open_generator(
    model: str | Path,
    *,
    backend: Literal["torch", "onnx"] | None = None,
    file: str | None = None,
    threads: int | None = None,
    device: str | None = None,
    **options: Any,
) -> Writer:
    """The decoder or encoder-decoder of a folder or hub id.

    Args:
        backend: "onnx" or "torch"; None takes onnxruntime where the folder holds ONNX files that write.
        file: which file of `onnx/` holds the decoder; None = the int8 one, else fp32.
        threads: of onnxruntime; None = one per processor.
        device: where torch runs; None = the accelerator where there is one.
        options: of `slonik.models.load_generator` (dtype, trust_remote_code), or prefix and max_length for both.

    Raises:
        SlonikError: no such model or file, one that does not write, or an option that it has no use for.
        MissingExtra: torch is not installed, and the model needs it.
    """
    if backend == "onnx" or (backend is None and is_generator(model)):
        if device not in (None, "cpu"):
            raise SlonikError(f"{model} is exported, and runs on the processor: leave device={device!r} out")
        from slonik.runtime.generator import load

        return load(model, file=file, threads=threads, **options)
    if file is not None or threads is not None:
        named = f"file={file!r}" if file is not None else f"threads={threads}"
        raise SlonikError(f"{named} is for exported folders, and {model} is none: make one with slonik export")
    from slonik.models.kinds import kind_of

    kind = kind_of(model)
    if kind.name == "exported":
        raise SlonikError(
            f"{model} was exported to read, not to write: export the checkpoint again (without --as encoder)"
        )
    try:
        from slonik.models.generation import load_generator
    except ModuleNotFoundError as error:
        raise missing_extra(f"writing with {model} (it is not an exported folder)", error) from None
    return load_generator(model, device=device, **options)


def generate(
    model: str | Path | Writer,
    prompts: Iterable[str],
    *,
    batch_size: int = 8,
    device: str | None = None,
    **sampling: Any,
) -> list[Generated]:
    """Continuations of prompts, in their order. A folder that `slonik export` wrote is written with without torch.

    Args:
        model: folder or hub id of a decoder or encoder-decoder, or one that is loaded.
        batch_size: prompts that are written on side by side.
        device: where a model that is loaded here runs; None = the accelerator where there is one.
        sampling: fields of `SamplingConfig`: max_tokens, temperature, top_p, top_k, repetition_penalty, seed.

    Raises:
        SlonikError: no such model, one that does not write, a bad option, or a prompt that fills the context.
    """
    config = build_config(SamplingConfig, sampling, source="the options")
    writer = model if isinstance(model, Writer) else open_generator(model, device=device)
    return list(continuations(writer, prompts, config, batch_size=batch_size))
