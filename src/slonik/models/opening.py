"""A model by its name alone: an encoder of it, and everything that is known of it.

An exported folder is opened through onnxruntime, without importing torch, any other through torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from slonik.core.errors import missing_extra
from slonik.core.protocols import Encoder
from slonik.models.kinds import is_checkpoint, is_exported, resolve
from slonik.models.names import UNIVERSAL_SENTENCE_ENCODER

if TYPE_CHECKING:
    from slonik.models.describe import Description


def open_encoder(model: str | Path, *, backend: Literal["torch", "onnx"] | None = None, **options: Any) -> Encoder:
    """An encoder from a folder, a hub id, `embedded:NAME`, or the bare name of a baseline.

    Args:
        model: what to load.
        backend: "onnx" or "torch"; None takes onnxruntime when the folder holds an exported model.
        options: passed to `slonik.runtime.load` or `slonik.models.load`.

    Raises:
        SlonikError: there is no such model, or it is broken; the sentence says which file.
        MissingExtra: torch is not installed, and the model needs it.
    """
    if backend == "onnx" or (backend is None and is_exported(model)):
        from slonik.runtime import load

        return load(model, **options)
    try:
        if is_checkpoint(model):
            from slonik.models.loading import load as load_checkpoint

            return load_checkpoint(model, **options)
    except ModuleNotFoundError as error:
        raise missing_extra(f"loading {model} (it is not an exported folder)", error) from None
    name = str(model)  # neither device nor dtype means anything to the rest
    if name == UNIVERSAL_SENTENCE_ENCODER:
        from slonik.models.embedded.use_multilingual_3 import UniversalSentenceEncoder

        return UniversalSentenceEncoder()
    from slonik.models.baselines import BASELINES

    return BASELINES[name]()


def show(model: str | Path) -> Description:
    """What a folder, a hub id, `embedded:NAME` or a baseline is: shape, size, lineage, everything measured.

    Raises:
        SlonikError: there is no such model, it is no checkpoint, or one of its files is damaged.
    """
    # Passports bring pydantic, which a process that only encodes can save.
    from slonik.core.passport import Passport
    from slonik.models.describe import Description, describe_folder

    name = str(model)
    if is_checkpoint(model):
        return describe_folder(resolve(model), name=name)
    return Description(name, "slonik.load", open_encoder(model).describe(), Passport(name=name))
