"""A model by its name alone: an encoder of it, the model with its head, and everything that is known of it.

An exported folder is opened through onnxruntime, without importing torch, any other through torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from slonik.core.errors import SlonikError, missing_extra
from slonik.core.numbers import check_count
from slonik.core.protocols import Encoder
from slonik.models.kinds import exported_folder, is_checkpoint, is_exported, kind_of, names_head, resolve
from slonik.models.names import UNIVERSAL_SENTENCE_ENCODER
from slonik.text import TASK_FILE
from slonik.text.lines import read_json
from slonik.text.matryoshka import shortened
from slonik.text.pipeline_files import is_static
from slonik.text.sentence_config import names_pooling

if TYPE_CHECKING:
    from slonik.models.describe import Description


def open_encoder(
    model: str | Path,
    *,
    backend: Literal["torch", "onnx"] | None = None,
    dimensions: int | None = None,
    **options: Any,
) -> Encoder:
    """An encoder from a folder, a hub id, `embedded:NAME`, or the bare name of a baseline.

    Args:
        model: what to load.
        backend: "onnx" or "torch"; None takes onnxruntime when the folder holds an exported model.
        dimensions: how many leading ones of its vectors are given (see `slonik.text.matryoshka`); None = all.
        options: passed to `slonik.runtime.load` or `slonik.models.load`.

    Raises:
        SlonikError: there is no such model, or it is broken; the sentence says which file.
        MissingExtra: torch is not installed, and the model needs it.
    """
    return shortened(_open(model, backend, options), dimensions)


def _open(model: str | Path, backend: str | None, options: Mapping[str, Any]) -> Encoder:
    """The encoder with whole vectors."""
    exported = None if backend == "torch" else exported_folder(model)
    if backend == "onnx" or exported is not None:
        from slonik.runtime import load

        encoder = load(exported or model, **options)
        encoder.name = str(model)
        return encoder
    if is_checkpoint(model):
        folder = resolve(model)  # that there is no such model comes before what would be needed to read it
        if is_static(folder):
            from slonik.runtime.static import load as load_static

            _check_options(model, options, (), "a table of token vectors")
            table = load_static(folder)
            table.name = str(model)
            return table
    try:
        if is_checkpoint(model):
            from slonik.models.loading import load as load_checkpoint

            return load_checkpoint(model, **options)
    except ModuleNotFoundError as error:
        raise missing_extra(f"loading {model} {_why_torch(backend)}", error) from None
    name = str(model)  # neither device nor dtype means anything to the rest
    for option in ("pooling", "long_texts"):
        if options.get(option) is not None:
            raise SlonikError(f"{name} is no checkpoint, so {option} means nothing to it: leave it out")
    if name == UNIVERSAL_SENTENCE_ENCODER:
        from slonik.models.embedded.use_multilingual_3 import UniversalSentenceEncoder

        return UniversalSentenceEncoder()
    from slonik.models.baselines import BASELINES

    return BASELINES[name]()


def _why_torch(backend: str | None) -> str:
    """Why a model is loaded by torch, for a sentence."""
    return "in torch" if backend == "torch" else "(it is not an exported folder)"


def poolings_for(models: Sequence[str | Path], pooling: str | None) -> list[dict[str, str]]:
    """The option `pooling` of loading for each of several models: for those alone whose files name none.

    Raises:
        SlonikError: a pooling is given, and every model has its own.
    """
    if pooling is None:
        return [{} for _ in models]
    open_ones = [is_checkpoint(model) and not names_pooling(resolve(model)) for model in models]
    if not any(open_ones):
        raise SlonikError(
            f"--pooling is {pooling!r}, and {', '.join(map(str, models))} names a pooling of its own (modules.json) or "
            "has none: leave it out"
        )
    return [{"pooling": pooling} if chosen else {} for chosen in open_ones]


def open_model(model: str | Path, *, backend: Literal["torch", "onnx"] | None = None, **options: Any) -> Any:
    """What a folder, a hub id or a name is: a model with its head where its files name one, else an encoder.

    Args:
        model, backend: as in `open_encoder`.
        options: of a model with a head `long_texts`, and `device`, `dtype`, `trust_remote_code` in torch, `file`,
            `threads` of ONNX files; of an encoder those of `open_encoder`.

    Returns:
        `slonik.runtime.task_model.OnnxTaskModel`, `slonik.runtime.tagging.onnx_tagger.OnnxTagger`,
        `slonik.models.task_model.TaskModel` (of a tagger too: `slonik.load` makes a tagger of it), or an encoder.

    Raises:
        SlonikError: as `open_encoder`; an option that such a model does not have.
        MissingExtra: torch is not installed, and the model needs it.
    """
    if backend == "onnx" or (backend is None and is_exported(model)):
        if names_head(Path(model).expanduser()):
            from slonik.runtime.opening import open_model as open_exported

            _check_options(model, options, ("file", "threads", "long_texts"), "an exported model with a head")
            return open_exported(model, **options)
        return open_encoder(model, backend="onnx", **options)
    if not is_checkpoint(model) or kind_of(model).name not in ("head", "task", "tagger"):
        return open_encoder(model, backend=backend, **options)
    folder = resolve(model)
    if read_json(folder / TASK_FILE, optional=True).get("kind") == "text2text":
        return open_encoder(model, backend=backend, **options)
    _check_options(model, options, ("device", "trust_remote_code", "long_texts"), "a model with a head")
    try:
        from slonik.models.task_model import load_task_model
    except ModuleNotFoundError as error:
        raise missing_extra(f"loading {model} {_why_torch(backend)}", error) from None
    long_texts = options.pop("long_texts", None)
    found = load_task_model(folder, **options)
    found.name = str(model)
    if long_texts is not None:
        from slonik.text.task_rows import chosen_way

        found.config = found.config.model_copy(update={"long_texts": chosen_way(long_texts, found.config)})
    return found


def limit_threads(threads: int) -> None:
    """Let torch, where it is installed, use so many processors in this process.

    Raises:
        SlonikError: fewer than one.
    """
    check_count("threads", threads)
    try:
        import torch
    except ModuleNotFoundError:
        return  # loading says what is missing
    torch.set_num_threads(threads)


def _check_options(model: str | Path, options: Mapping[str, Any], known: tuple[str, ...], what: str) -> None:
    wrong = next((name for name in options if name not in known), None)
    if wrong is not None:
        takes = ", ".join(known) or "no options"
        raise SlonikError(f"{model} is {what}, which is not loaded with {wrong}=: it takes {takes}")


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
        return describe_folder(exported_folder(model) or resolve(model), name=name)
    return Description(name, "slonik.load", open_encoder(model).describe(), Passport(name=name))
