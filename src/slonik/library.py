"""The library's functions that choose a room: what to load, which suite to measure, which task to train, what to serve.

The others are the rooms' own and are offered by `slonik` directly. Nothing is computed here; what is done is to tell
names and kinds of models apart, and to hand each option to those that it is for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from slonik.core.errors import SlonikError, lookup, missing_extra
from slonik.core.protocols import LongTexts
from slonik.models.distributions import default_name
from slonik.models.kinds import converting_weights, exported_folder, has_weights, is_exported, kind_of
from slonik.models.opening import limit_threads, open_model, poolings_for

if TYPE_CHECKING:
    from slonik.core.run import Result
    from slonik.evaluation.suite import Evaluation
    from slonik.scaling.parts import PartsResult
    from slonik.serving import ServedModel


def load(model: str | Path | None = None, *, backend: Literal["torch", "onnx"] | None = None, **options: Any) -> Any:
    """A model from a folder, a hub id, `embedded:NAME`, or a baseline's bare name; with its head, where it has one.

    What the folder says decides, and torch or ONNX makes no difference: encoders have `.encode(texts)`; classifiers,
    scorers, multiple choice and span answers `.predict(rows)`, those with scores `.logits(rows)`; taggers `.tag(texts)`
    and `.predict(texts)`. In torch what has a head encodes too, with the encoder below it.

    Args:
        model: what to load; None = the encoder that ships (`slonik-mini-ru`, else `slonik-static-ru`).
        backend: "onnx" or "torch"; None takes onnxruntime, without importing torch, where the folder holds ONNX files.
        options: `long_texts`: what happens to texts of more tokens than the model takes ("truncate", "average",
            "refuse"; None = as the folder says; taggers read them in windows); `device`, `trust_remote_code` and, of
            encoders, `dtype`, `pooling`, `convert_weights` in torch; `file` and `threads` of ONNX files; `dimensions`
            of encoders: how many leading ones of a vector are given.

    Raises:
        SlonikError: there is no such model, it is broken (the sentence says which file), or an option does not fit it.
        MissingExtra: torch is not installed, and the model needs it.
    """
    model = default_name() if model is None else model
    exported = backend == "onnx" or (backend is None and is_exported(model))
    news = str(model) == "slovnet" and not Path("slovnet").is_dir()  # the tagger that natasha carries
    if not news and (not isinstance(model, str | Path) or exported or kind_of(model).name != "tagger"):
        return open_model(model, backend=backend, **options)
    wrong = next((name for name in options if name not in ("device", "trust_remote_code")), None)
    if wrong is not None:
        raise SlonikError(f"{model} tags words: it is not loaded with {wrong}=, but with device=")
    try:
        from slonik.tagging.models import load_tagger

        return load_tagger(model, **options)
    except ModuleNotFoundError as error:
        raise missing_extra(f"loading {model} (it is not an exported folder)", error) from None


def encode_folder(
    model: str | Path,
    inputs: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    column: str = "text",
    prefix: str | None = None,
    engine: str = "local",
    workers: int | None = None,
    progress: bool = False,
    announce: Callable[[str], None] | None = None,
    **options: Any,
) -> PartsResult:
    """Encode folders of Parquet and JSON Lines: the same parts with a column `embedding`, in the folder `out`.

    Parts that were made of the same rows by the same model are skipped, so a call that was killed goes on.

    Args:
        model: folder, hub id, `embedded:NAME`, or a baseline's name.
        inputs: folders, or files.
        column: of the texts; an empty one has zeros, and `error` says so.
        prefix: put before every text; None = the model's own, "" = none.
        engine: "local" (this process) or "ray" (one model per worker). workers: of Ray.
        progress: show it on standard error. announce: called with a line for the user, instead.
        options: as `load` takes them for encoders.

    Raises:
        SlonikError: no such model or parts, `out` made by another model; parts that failed, when all others are done.
        MissingExtra: pyarrow, ray or torch is not installed.
    """
    from functools import partial

    from slonik.core.identity import Identity, checkpoint_identity
    from slonik.models.kinds import is_checkpoint, resolve
    from slonik.models.opening import open_encoder
    from slonik.runtime.folders import encode_parts

    known = checkpoint_identity(resolve(model)) if is_checkpoint(model) else Identity.of({"name": str(model)})
    deciding = {name: value for name, value in options.items() if name != "threads"}
    return encode_parts(
        partial(open_encoder, str(model), **options),
        [inputs] if isinstance(inputs, str | Path) else list(inputs), out,
        identity={"model": known, "options": deciding}, column=column, prefix=prefix, engine=engine, workers=workers,
        progress=progress, announce=announce,
    )  # fmt: skip


def evaluate(models: Any, suite: str, **options: Any) -> Evaluation:
    """Measure one model or several on a suite; the same signature for all of them.

    Args:
        models: a name, a folder or a loaded model, or a sequence of these; baselines by their names.
        suite: "encodechka", "russian_superglue", "probing", "ner", "retrieval", "mteb" or "own" (with `data`).
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


def _mteb() -> Callable[..., Evaluation]:
    from slonik.evaluation.mteb.suite import mteb

    return mteb


def _own() -> Callable[..., Evaluation]:
    from slonik.finetuning.own_evaluation import evaluate_own

    return lambda models, *, data, **options: evaluate_own(data, models, **options)


_SUITES: dict[str, Callable[[], Callable[..., Evaluation]]] = {
    "encodechka": _encodechka,
    "russian_superglue": _russian_superglue,
    "probing": _probing,
    "ner": _ner,
    "retrieval": _retrieval,
    "mteb": _mteb,
    "own": _own,
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
    models: Any = None,
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
            served under their own names; None = the encoder that ships.
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
    named = _named(default_name() if models is None else models)
    with converting_weights() if convert_weights else nullcontext():
        poolings = _poolings([model for _, model in named], pooling)
        served = [
            _served(name, model, file=file, threads=threads, **options)
            for (name, model), options in zip(named, poolings, strict=True)
        ]
    names = [model.id for model in served]
    run(served, settings, lambda url: ready(url, names) if ready else None)


def _named(models: Any) -> list[tuple[str | None, Any]]:
    """(name or None, model) of what `serve` was given, "NAME=MODEL" taken apart."""
    if isinstance(models, Mapping):
        found: list[tuple[str | None, Any]] = [(str(name), model) for name, model in models.items()]
    else:
        given = [models] if isinstance(models, str | Path) or not isinstance(models, Sequence) else models
        found = [(None, model) for model in given]
        for place, (_, model) in enumerate(found):
            if isinstance(model, str) and "=" in model and not Path(model).exists():
                name, rest = (part.strip() for part in model.split("=", 1))
                if not name or not rest:
                    raise SlonikError(f"{model!r} names no model: write NAME=MODEL, for example small=out/small-ru")
                found[place] = name, rest
    if not found:
        raise SlonikError("there is no model to serve: name one")
    return found


def _poolings(models: Sequence[Any], pooling: str | None) -> list[dict[str, str]]:
    """The option `pooling` for the encoders among `models`."""
    found: list[dict[str, str]] = [{} for _ in models]
    if pooling is None:
        return found
    named = (place for place, model in enumerate(models) if isinstance(model, str | Path))
    places = [place for place in named if kind_of(models[place]).encodes]
    if not places:
        raise SlonikError(f"--pooling is {pooling!r}, and no encoder is served that could use it: leave it out")
    for place, chosen in zip(places, poolings_for([models[place] for place in places], pooling), strict=True):
        found[place] = chosen
    return found


def _served(name: str | None, model: Any, *, file: str | None, threads: int | None, **options: Any) -> ServedModel:
    """The model to serve; its id is `name`, the folder's name, the name as it was given, or a loaded model's own.

    Args:
        options: of an encoder.
    """
    from slonik.serving import ServedModel

    if not isinstance(model, str | Path):
        if file is not None:
            raise SlonikError(f"file={file!r} is for exported folders, and {model.name} is loaded already")
        return ServedModel(name or str(model.name), model)
    # What ships as ONNX is served as that: its checkpoint for torch, which is made in the cache, is not needed.
    kind, folder = kind_of(exported_folder(model) or model), Path(model).expanduser()
    shown = name or (Path(os.path.normpath(folder.absolute())).name if folder.is_dir() else str(model))
    aliases = (str(model),) if name is None else ()
    if kind.folder is not None and kind.exported and not has_weights(kind.folder) and not is_exported(model):
        model = kind.folder  # also of a hub model, which is opened in torch where it has weights
    exported = is_exported(model)
    if exported:
        options |= {} if file is None else {"file": file}
    elif file is not None:
        raise SlonikError(f"--file {file} chooses among the ONNX files of an exported folder, and {model} is none")
    elif threads is not None and kind.folder is not None:
        limit_threads(threads)
    if kind.writes:
        from slonik.models.writing import open_generator

        options |= {"threads": threads} if exported else {"dtype": "auto"}
        writer = open_generator(model, **options)
        writer.name = shown  # clients are told it; they need not know the path
        return ServedModel(shown, writer, aliases)
    if exported:
        options["threads"] = 1  # texts of many clients run side by side: faster than one text on all processors
    return ServedModel(shown, load(model, **options), aliases)
