"""The library's functions that choose a room: what to load, which suite to measure, which task to train, what to serve.

The others are the rooms' own and are offered by `slonik` directly. Nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from slonik.core.errors import SlonikError, lookup, missing_extra
from slonik.core.protocols import LongTexts
from slonik.models.kinds import Kind, converting_weights, is_exported, kind_of, names_head
from slonik.models.opening import open_model, poolings_for

if TYPE_CHECKING:
    from slonik.core.run import Result
    from slonik.evaluation.suite import Evaluation
    from slonik.serving import ServedModel


def load(model: str | Path, *, backend: Literal["torch", "onnx"] | None = None, **options: Any) -> Any:
    """A model from a folder, a hub id, `embedded:NAME`, or a baseline's bare name; with its head, where it has one.

    What the folder says decides, and torch or ONNX makes no difference: encoders have `.encode(texts)`; classifiers,
    scorers, multiple choice and span answers `.predict(rows)`, those with scores `.logits(rows)`; taggers `.tag(texts)`
    and `.predict(texts)`. In torch what has a head encodes too, with the encoder below it.

    Args:
        model: what to load.
        backend: "onnx" or "torch"; None takes onnxruntime, without importing torch, where the folder holds ONNX files.
        options: `long_texts`: what happens to texts of more tokens than the model takes ("truncate", "average",
            "refuse"; None = as the folder says; taggers read them in windows); `device`, `trust_remote_code` and, of
            encoders, `dtype`, `pooling`, `convert_weights` in torch; `file` and `threads` of ONNX files.

    Raises:
        SlonikError: there is no such model, it is broken (the sentence says which file), or an option does not fit it.
        MissingExtra: torch is not installed, and the model needs it.
    """
    if isinstance(model, str | Path) and not (backend == "onnx" or (backend is None and is_exported(model))):
        kind = kind_of(model)
        if kind.name == "tagger" or (kind.name == "head" and kind.architecture.endswith("ForTokenClassification")):
            wrong = next((name for name in options if name not in ("device", "trust_remote_code")), None)
            if wrong is not None:
                raise SlonikError(f"{model} tags words: it is not loaded with {wrong}=, but with device=")
            try:
                from slonik.tagging.models import load_tagger

                return load_tagger(model, **options)
            except ModuleNotFoundError as error:
                raise missing_extra(f"loading {model} (it is not an exported folder)", error) from None
    return open_model(model, backend=backend, **options)


def evaluate(models: Any, suite: str, **options: Any) -> Evaluation:
    """Measure one model or several on a suite; the same signature for all of them.

    Args:
        models: a name, a folder or a loaded model, or a sequence of these; baselines by their names.
        suite: "encodechka", "russian_superglue", "probing", "ner" or "retrieval".
        options: `data_dir`, `tasks`, `seed`, `passport`, `progress`, and what the suite's own function takes.

    Returns:
        Records with intervals, paired differences among them, and tables.

    Raises:
        SlonikError: an unknown suite, no data, a model that the suite cannot measure.
    """
    function: Callable[..., Evaluation] = lookup(suite.replace("-", "_"), _SUITES, "suite")()
    return function(models, **options)


def _encodechka() -> Callable[..., Evaluation]:
    from slonik.evaluation.encodechka.suite import encodechka

    return encodechka


def _russian_superglue() -> Callable[..., Evaluation]:
    from functools import partial

    from slonik.evaluation.russian_superglue.suite import russian_superglue
    from slonik.finetuning.predictors import answer_part

    return partial(russian_superglue, run=answer_part)


def _probing() -> Callable[..., Evaluation]:
    from slonik.inspection.probing.run import probing

    return probing


def _retrieval() -> Callable[..., Evaluation]:
    from slonik.evaluation.retrieval.suite import retrieval

    return retrieval


def _ner() -> Callable[..., Evaluation]:
    from slonik.tagging.evaluate import ner

    return ner


_SUITES: dict[str, Callable[[], Callable[..., Evaluation]]] = {
    "encodechka": _encodechka,
    "russian_superglue": _russian_superglue,
    "probing": _probing,
    "ner": _ner,
    "retrieval": _retrieval,
}


def finetune(model: Any, data: Any = None, *, task: str = "own", **options: Any) -> Result:
    """Train a model for a task: on the user's rows, on a task of Russian SuperGLUE, as a tagger, or as a reranker.

    Args:
        model: a name, a folder or a loaded encoder; for taggers "crf", "bilstm" and "bilstm-crf" too.
        data: rows, a DataFrame or a file of the user's; annotated documents for "ner", queries with documents for
            "rerank"; None for a published task.
        task: "ner", "rerank", a task of Russian SuperGLUE ("terra", ...), or "own" for rows of the user's.
        options: `out`, `seed`, `progress`, and what the task's own function takes.

    Raises:
        SlonikError: what the model or the data cannot be used for.
    """
    if task == "ner":
        from slonik.tagging.train import train_tagger

        return train_tagger(model, data, **options)
    if task == "rerank":
        from slonik.finetuning.rerank.run import train_reranker

        return train_reranker(model, data, **options)
    from slonik.finetuning.finetune import finetune as train

    return train(model, data, task=task, **options)


def serve(
    models: Any,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    api_key: str | None = None,
    max_batch_tokens: int = 2048,
    max_queue: int = 1024,
    threads: int | None = None,
    file: str | None = None,
    long_texts: LongTexts | None = None,
    pooling: str | None = None,
    convert_weights: bool = False,
    ready: Callable[[str, list[str]], None] | None = None,
) -> None:
    """Answer HTTP requests with the OpenAI API's routes, until the process is told to stop.

    Args:
        models: one or several, or name -> model: folders (exported ones run without torch), hub ids, embedded:NAME:
            encoders, classifiers, rerankers, taggers, decoders; "NAME=MODEL" gives a name too; loaded models are
            served under their own names.
        host: address to listen on.
        port: 0 = any free one.
        api_key: what clients must send; None = no key is needed.
        max_batch_tokens: the most tokens of one pass through a model.
        max_queue: texts that may wait per model; more are answered 429 at once.
        threads: processors that each model may use; None = all that the process, or its container, may.
        file: which ONNX file of the exported folders; None = the int8 one, else fp32, else fp16.
        long_texts: what happens to texts over a model's length where a request does not say: "truncate", "average" or
            "refuse"; None = as each model's folder says.
        pooling: of encoders whose folders name none.
        convert_weights: read pickled weights (.bin), the weights alone.
        ready: called with the server's address and the names of its models when it listens.

    Raises:
        SlonikError: a model cannot be loaded or served, an option does not fit it, or the port is taken.
    """
    from slonik.core.config import build_config
    from slonik.serving import ServeSettings, run

    fields = {
        "host": host, "port": port, "api_key": api_key, "max_batch_tokens": max_batch_tokens, "max_queue": max_queue,
        "threads": threads, "long_texts": long_texts,
    }  # fmt: skip
    settings = build_config(ServeSettings, fields, source="the options")
    named = _named(models)
    with converting_weights() if convert_weights else nullcontext():
        poolings = _poolings([model for _, model in named], pooling)
        served = [
            _served(name, model, file=file, threads=threads, encoder_options=options)
            for (name, model), options in zip(named, poolings, strict=True)
        ]
    names = [model.id for model in served]
    run(served, settings, lambda url: ready(url, names) if ready else None)


def _named(models: Any) -> list[tuple[str | None, Any]]:
    """(name or None, model) of what `serve` was given."""
    if isinstance(models, Mapping):
        several: list[tuple[str | None, Any]] = [(str(name), model) for name, model in models.items()]
    else:
        given = [models] if isinstance(models, str | Path) or not isinstance(models, Sequence) else list(models)
        several = [_split_name(model) for model in given]
    if not several:
        raise SlonikError("there is no model to serve: name one")
    return several


def _split_name(model: Any) -> tuple[str | None, Any]:
    if not isinstance(model, str) or "=" not in model or Path(model).exists():
        return None, model
    name, _, rest = model.partition("=")
    if not name.strip() or not rest.strip():
        raise SlonikError(f"{model!r} names no model: write NAME=MODEL, for example small-ru=out/small-ru-int8")
    return name.strip(), rest.strip()


def _poolings(models: Sequence[Any], pooling: str | None) -> list[dict[str, str]]:
    """The option `pooling` for the encoders among `models`."""
    places = [
        place for place, model in enumerate(models)
        if pooling is not None and isinstance(model, str | Path) and _is_encoder(kind_of(model))
    ]  # fmt: skip
    if pooling is not None and not places:
        raise SlonikError(f"--pooling is {pooling!r}, and no encoder is served that could use it: leave it out")
    options = poolings_for([models[place] for place in places], pooling) if places else []
    found: list[dict[str, str]] = [{} for _ in models]
    for place, chosen in zip(places, options, strict=True):
        found[place] = chosen
    return found


def _is_encoder(kind: Kind) -> bool:
    headless = kind.name in ("encoder", "decoder", "encoder-decoder", "exported", "embedded", "baseline")
    return headless and not (kind.folder is not None and names_head(kind.folder)) and not kind.writes


def _served(
    name: str | None, model: Any, *, file: str | None, threads: int | None, encoder_options: Mapping[str, str]
) -> ServedModel:
    """The model to serve; its id is `name`, the folder's name, the name as it was given, or a loaded model's own."""
    from slonik.serving import ServedModel

    if not isinstance(model, str | Path):
        if file is not None:
            raise SlonikError(f"file={file!r} is for exported folders, and {model.name} is loaded already")
        return ServedModel(name or str(model.name), model)
    folder, kind = Path(model).expanduser(), kind_of(model)
    shown = name or (folder.resolve().name if folder.is_dir() else str(model))
    aliases = (str(model),) if name is None else ()
    if kind.exported:
        # Texts of many clients run side by side, each on one processor: that is faster than one text on all of them.
        options: dict[str, Any] = {"threads": 1, "file": file}
    elif file is not None:
        raise SlonikError(f"--file {file} chooses among the ONNX files of an exported folder, and {model} is none")
    else:
        options = {}
        if threads is not None and kind.name not in ("baseline", "embedded"):
            _limit_torch(threads)
    if kind.writes:
        from slonik.models.writing import open_generator

        options |= {"threads": threads} if kind.exported else {"dtype": "auto"}
        writer = open_generator(model, **options)
        writer.name = shown  # clients are told it; they need not know the path
        return ServedModel(shown, writer, aliases)
    given = {key: value for key, value in options.items() if value is not None} | dict(encoder_options)
    return ServedModel(shown, load(model, **given), aliases)


def _limit_torch(threads: int) -> None:
    try:
        from slonik.models.loading import limit_threads
    except ModuleNotFoundError:
        return  # loading says what is missing
    limit_threads(threads)
