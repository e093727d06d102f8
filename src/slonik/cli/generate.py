"""`slonik generate`: a decoder or an encoder-decoder writes on."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import typer

from slonik.cli.numbers import AMOUNT, AT_LEAST_NONE, COUNT, PLACE, SEED, SHARE


def generate(
    model: str = typer.Argument(help="Folder (an exported one runs without torch) or hub id of a decoder or a T5."),
    prompt: list[str] = typer.Option([], help="A prompt; may be repeated. None: one per line of standard input."),
    max_tokens: int = typer.Option(100, help="The most tokens to write for a prompt.", **COUNT),
    temperature: float = typer.Option(1.0, help="0 = the likeliest token each time.", **AT_LEAST_NONE),
    top_p: float = typer.Option(1.0, help="Draw from the likeliest tokens of this joint probability.", **SHARE),
    top_k: int = typer.Option(0, help="Draw from the k likeliest tokens; 0 = all.", **PLACE),
    repetition_penalty: float = typer.Option(1.0, help="Above 1: what was written is less likely again.", **AMOUNT),
    seed: int = typer.Option(0, help="Seed; the same prompts give the same texts.", **SEED),
    stream: bool = typer.Option(False, "--stream", help="Write the text as it comes, one prompt after another."),
    batch_size: int = typer.Option(8, help="Prompts that are written on side by side.", **COUNT),
    file: str | None = typer.Option(None, help="Which ONNX file of an exported folder; default: the int8 one."),
    threads: int | None = typer.Option(
        None, help="Threads, of an exported folder; default: one per processor.", **COUNT
    ),
    jsonl: bool = typer.Option(False, "--jsonl", help='Standard input: {"prompt": ...} a line; output likewise.'),
) -> None:
    """Write on from prompts: given as options, or one per line of standard input.

    Without --jsonl a line of output is prompt and continuation (of an encoder-decoder the output alone), line breaks
    shown as \\n where prompts came from standard input. With --jsonl it is {"prompt": ..., "text": continuation}.

    Examples:

        slonik generate my-gpt2 --prompt "Слон вышел" --top-p 0.9 --temperature 0.8 --stream

        slonik generate my-gpt2 --jsonl --max-tokens 50 < prompts.jsonl > texts.jsonl
    """
    from slonik.core.config import build_config
    from slonik.core.errors import SlonikError
    from slonik.models.writing import open_generator
    from slonik.runtime.sampling import SamplingConfig
    from slonik.runtime.writing import continuations
    from slonik.text.lines import json_line

    if stream and jsonl:
        raise SlonikError("--stream writes texts as they come, and --jsonl whole objects: give one of them")
    values = {
        "max_tokens": max_tokens, "temperature": temperature, "top_p": top_p, "top_k": top_k,
        "repetition_penalty": repetition_penalty, "seed": seed,
    }  # fmt: skip
    sampling = build_config(SamplingConfig, values, source="the options")
    writer = open_generator(model, file=file, threads=threads)
    prompts = iter(prompt) if prompt else _prompts(jsonl)
    if stream and not jsonl:
        for number, given in enumerate(prompts):
            typer.echo("" if writer.two_stacks else given, nl=False)
            for piece in writer.stream(given, sampling, number=number):
                typer.echo(piece, nl=False)
                sys.stdout.flush()
            typer.echo("")
        return
    for made in continuations(writer, prompts, sampling, batch_size=batch_size):
        if jsonl:
            typer.echo(json_line({"prompt": made.prompt, "text": made.text}))
        else:
            typer.echo(made.whole if prompt else made.whole.replace("\n", "\\n"))


def _prompts(jsonl: bool) -> Iterator[str]:
    """Prompts of standard input.

    Raises:
        SlonikError: a line that is not UTF-8, or not an object with a prompt.
    """
    from slonik.core.errors import SlonikError

    for number, raw in enumerate(sys.stdin.buffer, start=1):
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise SlonikError(f"line {number} of standard input is not UTF-8 (byte {error.start + 1})") from None
        if not jsonl:
            yield line
            continue
        if not line.strip():
            continue
        try:
            content: Any = json.loads(line)
        except ValueError as error:
            raise SlonikError(f"line {number} of standard input is not JSON: {error}") from None
        text = content.get("prompt") if isinstance(content, dict) else None
        if not isinstance(text, str):
            raise SlonikError(f'line {number} of standard input is not an object with a "prompt"')
        yield text
