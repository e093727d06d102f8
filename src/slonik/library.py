"""The library's functions that choose a room: what to load, which suite to measure, which task to train, what to serve.

The others are the rooms' own and are offered by `slonik` directly. Nothing is computed here; what is done is to tell
names and kinds of models apart, and to hand each option to those that it is for.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from itertools import pairwise
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
    from slonik.scaling.launch import Launch
    from slonik.serving import ServedModel


def load(
    model: str | Path | None = None, *, backend: Literal["torch", "onnx"] | None = None, **options: Any
) -> Any:
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
    if not isinstance(model, str | Path) or exported or kind_of(model).name != "tagger":
        return open_model(model, backend=backend, **options)
    wrong = next((name for name in options if name not in ("device", "trust_remote_code")), None)
    if wrong is not None:
        raise SlonikError(f"{model} tags words: it is not loaded with {wrong}=, but with device=")
    try:
        from slonik.tagging.models import load_tagger

        return load_tagger(model, **options)
    except ModuleNotFoundError as error:
        raise missing_extra(f"loading {model} (it is not an exported folder)", error) from None


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


def launch(
    command: str | Sequence[str],
    *,
    on: str,
    job: str | Path | None = None,
    nodes: int = 1,
    gpus: int | str = 1,
    processes: int | None = None,
    cpus: int | None = None,
    memory: str | None = None,
    time: str | None = None,
    queue: str | None = None,
    image: str | None = None,
    mounts: Sequence[str] = (),
    array: str | None = None,
    env: Mapping[str, str] | None = None,
    setup: Sequence[str] = (),
    directives: Sequence[str] = (),
    python: str | None = None,
    retries: int = 3,
    submit: bool = False,
    announce: Callable[[str], None] | None = None,
) -> Launch:
    """Write the job of a slonik command for a scheduler, and submit it.

    The command is parsed by the real command line, and where the job sees this machine's files it is checked up to the
    moment at which it would begin, recipe included: a mistake is found here and not on the cluster.

    Args:
        command: what would be typed after `slonik`: words, or one string.
        on: "slurm", "kubernetes", "kubeflow", "skypilot", "apptainer" or "local".
        job: the launch's name and place (files go into JOB.launch); None = beside the command's --out.
        nodes: machines. gpus: of each node, 8 or "H100:8". processes: of each node; None = one per GPU. cpus, memory
            ("64G"): of each node.
        time: the most that it may take: "48:00:00", "2-12:00:00", "36h".
        queue: Slurm's partition, Kueue's queue.
        image: container image, a file or an address. mounts: "SOURCE:TARGET[:ro]".
        array: "seed=0-4": one job for each value, put where the command has `{seed}`.
        env: environment variables. setup: shell lines before the command. directives: further lines for sbatch.
        python: interpreter of the job; None = this one, or the image's.
        retries: how often a job that died is started again.
        submit: hand the files to the scheduler.
        announce: called with a line for the user.

    Raises:
        SlonikError: a command or option that is wrong, a time that is none, an image that is not there, another launch
            in the same place, a scheduler that is not installed. Nothing was overwritten.
    """
    from slonik.cli.command_line import checked, parse
    from slonik.core.run import silent
    from slonik.scaling.arrays import expand, without_braces
    from slonik.scaling.job import Mount, read_gpus, read_time
    from slonik.scaling.launch import FROM_HERE, TARGETS
    from slonik.scaling.launch import launch as write

    lookup(on, TARGETS, "place to launch on")
    words = shlex.split(command) if isinstance(command, str) else list(command)
    here, say = on in FROM_HERE, announce or silent
    lines = [parse(element, here=here) for element in expand(words, array)]
    _check_launched(lines)
    outs = [line.out for line in lines]
    if here:
        try:
            outs = [str(run.out) if (run := checked(line)) else line.out for line in lines]
        except ModuleNotFoundError as error:
            say(f"the recipe is not checked here, for {error.name} is not installed: the job will check it")
    given = [out for out in outs if out is not None]
    if len(set(given)) < len(given):
        raise SlonikError(f"jobs of --array {array} would write to one --out, {given[0]}: put the value into its name")
    place = Path(job) if job is not None else _launch_place(words, given, array)
    count, kind = read_gpus(str(gpus))
    fields = {
        "on": on, "name": without_braces(place.name), "commands": [line.words for line in lines], "folder": Path.cwd(),
        "nodes": nodes, "gpus": count, "gpu_type": kind, "processes": processes, "cpus": cpus, "memory": memory,
        "seconds": None if time is None else read_time(time), "queue": queue, "image": image,
        "mounts": [Mount.read(mount) for mount in mounts], "env": dict(env or {}), "setup": tuple(setup),
        "directives": tuple(directives), "python": python, "retries": retries, "recipe": lines[0].recipe,
    }  # fmt: skip
    return write(fields, place, submit=submit)


def _check_launched(lines: Sequence[Any]) -> None:
    """Refuse commands that are no jobs."""
    name = lines[0].name
    if name == "serve":
        raise SlonikError(
            "a server is no job that ends: deploy/serve/ has a Dockerfile, an Apptainer definition and a manifest for "
            "Kubernetes (docs/cluster.md)"
        )
    if name.split()[0] in ("launch", "sweep"):
        raise SlonikError(f"slonik {name} starts jobs itself: launch the command that does the work")
    if len({line.recipe for line in lines}) > 1:
        raise SlonikError(
            "jobs of one --array read one recipe: put the value into --set, and not into the recipe's name"
        )


def _launch_place(words: Sequence[str], outs: Sequence[str], array: str | None) -> Path:
    """Where the launch is named after the result."""
    from slonik.scaling.arrays import without_braces

    if not outs:
        raise SlonikError(f"slonik {words[0]} has no --out that the job could be named after: give --job NAME")
    if array is None:
        return Path(outs[0])
    following = [word for before, word in pairwise(words) if before == "--out"]
    following += [word.removeprefix("--out=") for word in words if word.startswith("--out=")]
    return Path(without_braces(following[0])) if following else Path(outs[0]).with_name(f"{Path(outs[0]).name}-array")


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
