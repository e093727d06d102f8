"""`slonik evaluate mteb MODEL...`: mteb's tasks by mteb's runner."""

from __future__ import annotations

from pathlib import Path

import typer

from slonik.cli.common import (
    ConvertWeights,
    Device,
    JsonFile,
    Pooling,
    StampPassport,
    TrustRemoteCode,
    announce_task,
    save_records,
    show_evaluation,
)
from slonik.cli.numbers import COUNT, SEED


def mteb(
    models: list[str] = typer.Argument(help="Folders, ONNX folders, hub ids, embedded:NAME."),
    tasks: str = typer.Option("rus", help="rus (MTEB(rus, v1.1)), names of mteb's benchmarks or tasks, by commas."),
    prompt: list[str] | None = typer.Option(
        None, help="Text before a task, a type of task, query or document; repeatable (default: the checkpoint's).",
        metavar="NAME=TEXT",
    ),
    results: Path | None = typer.Option(
        None, help="Folder for files in the layout of mteb's results repository; what is there is not measured again.",
        metavar="DIR",
    ),
    batch_size: int = typer.Option(32, help="Texts that mteb hands over at once.", **COUNT),
    json_file: JsonFile = None,
    dtype: str | None = typer.Option(None, help="float32 (default), bfloat16, float16, autocast."),
    device: Device = None,
    seed: int = typer.Option(0, help="Seed of the bootstrap.", **SEED),
    passport: StampPassport = True,
    trust_remote_code: TrustRemoteCode = False,
    pooling: Pooling = None,
    convert_weights: ConvertWeights = False,
) -> None:  # fmt: skip
    """MTEB's tasks, by the package mteb, with intervals where it keeps answers to items.

    Example: slonik evaluate mteb my-encoder --tasks RUParaPhraserSTS,TERRa --results mteb-results --json found.json
    """
    from slonik.core.errors import SlonikError
    from slonik.evaluation.mteb.suite import mteb as run

    prompts = {}
    for pair in prompt or []:
        name, sign, text = pair.partition("=")
        if not (name and sign):
            raise SlonikError(f"--prompt is {pair!r}: give NAME=TEXT, e.g. query='query: '")
        prompts[name] = text
    found = run(
        models, tasks=tasks, prompts=prompts or None, results=results, batch_size=batch_size, seed=seed, dtype=dtype,
        device=device, passport=passport, trust_remote_code=trust_remote_code, pooling=pooling, on_task=announce_task,
    )  # fmt: skip
    show_evaluation(found)
    save_records(json_file, found.records)
