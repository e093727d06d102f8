"""The library's functions that choose a room: what to load, which suite to measure, which task to train, what to serve.

The others are the rooms' own and are offered by `slonik` directly. Nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slonik.core.errors import SlonikError, lookup
from slonik.models.opening import open_encoder

if TYPE_CHECKING:
    from slonik.core.run import Result
    from slonik.evaluation.suite import Evaluation
    from slonik.serving import ServedModel

load = open_encoder


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
    ready: Callable[[str, list[str]], None] | None = None,
) -> None:
    """Answer HTTP requests with the OpenAI API's routes, until the process is told to stop.

    Args:
        models: one or several: folders (exported ones run without torch), hub ids, embedded:NAME, decoders, taggers, or
            loaded models, which are served under their own names.
        host: address to listen on.
        port: 0 = any free one.
        api_key: what clients must send; None = no key is needed.
        max_batch_tokens: the most tokens of one pass through a model.
        max_queue: texts that may wait per model; more are answered 429 at once.
        ready: called with the server's address and the names of its models when it listens.

    Raises:
        SlonikError: a model cannot be loaded, or the port is taken.
    """
    from slonik.core.config import build_config
    from slonik.serving import ServeSettings, run

    several = [models] if isinstance(models, str | Path) or not isinstance(models, Sequence) else list(models)
    if not several:
        raise SlonikError("there is no model to serve: name one")
    fields = {
        "host": host, "port": port, "api_key": api_key, "max_batch_tokens": max_batch_tokens, "max_queue": max_queue,
    }  # fmt: skip
    settings = build_config(ServeSettings, fields, source="the options")
    served = [_served(model) for model in several]
    names = [model.id for model in served]
    run(served, settings, lambda url: ready(url, names) if ready else None)


def _served(model: Any) -> ServedModel:
    """The model to serve; its id is the folder's name, the name as it was given, or a loaded model's own."""
    from slonik.models.kinds import kind_of
    from slonik.serving import ServedModel

    if not isinstance(model, str | Path):
        return ServedModel(str(model.name), model)
    folder, kind = Path(model), kind_of(model)
    name = folder.resolve().name if folder.is_dir() else str(model)
    if kind.name == "tagger":
        from slonik.tagging.models import load_tagger

        return ServedModel(name, load_tagger(model), aliases=(str(model),))
    if kind.stack == "decoder" and kind.writes:
        from slonik.models.generation import load_generator

        writer = load_generator(str(model), dtype="auto")
        writer.name = name  # clients are told it; they need not know the path
        return ServedModel(name, writer, aliases=(str(model),))
    # Texts of many clients run side by side, each on one processor: that is faster than one text on all of them.
    options: dict[str, Any] = {"threads": 1} if kind.exported else {}
    return ServedModel(name, open_encoder(model, **options), aliases=(str(model),))
