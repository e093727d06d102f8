"""`slonik generate`: a decoder or an encoder-decoder writes on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from slonik.models.sampling import SamplingConfig
    from slonik.models.text_generator import TextGenerator


def register(app: typer.Typer) -> None:
    """Add the `generate` command."""
    app.command("generate")(generate)


def generate(
    model: str = typer.Argument(help="Folder or hub id of a decoder (GPT-2) or an encoder-decoder (T5)."),
    prompt: list[str] = typer.Option([], help="A prompt; may be repeated. None: one per line of standard input."),
    max_tokens: int = typer.Option(100, min=1, help="The most tokens to write for a prompt."),
    temperature: float = typer.Option(1.0, min=0, help="0 = the likeliest token each time."),
    top_p: float = typer.Option(1.0, min=1e-6, max=1, help="Draw from the likeliest tokens of this joint probability."),
    top_k: int = typer.Option(0, min=0, help="Draw from the k likeliest tokens; 0 = all."),
    repetition_penalty: float = typer.Option(1.0, min=1e-6, help="Above 1: what was written is less likely again."),
    seed: int = typer.Option(0, min=0, help="Seed; the same prompts give the same texts."),
    stream: bool = typer.Option(False, "--stream", help="Write pieces as they come, one prompt after another."),
    batch_size: int = typer.Option(8, min=1, help="Prompts that are written on side by side."),
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
    from slonik.models.sampling import SamplingConfig
    from slonik.models.text_generator import load_generator

    values = {
        "max_tokens": max_tokens, "temperature": temperature, "top_p": top_p, "top_k": top_k,
        "repetition_penalty": repetition_penalty, "seed": seed,
    }  # fmt: skip
    sampling = build_config(SamplingConfig, values, source="the options")
    writer = load_generator(model)
    prompts = iter(prompt) if prompt else _prompts(jsonl)
    if stream and not jsonl:
        _stream(writer, prompts, sampling)
        return
    for batch, first in _batches(prompts, batch_size):
        for given, text in zip(batch, writer.complete(batch, sampling, first=first), strict=True):
            _print(given, text, writer, jsonl=jsonl, one_line=not prompt)


def _stream(writer: TextGenerator, prompts: Iterator[str], sampling: SamplingConfig) -> None:
    for number, given in enumerate(prompts):
        pieces = writer.generate(given, sampling, number=number)
        typer.echo("" if writer.model.config.is_encoder_decoder else given, nl=False)
        for piece in pieces:
            typer.echo(piece, nl=False)
            sys.stdout.flush()
        typer.echo("")


def _prompts(jsonl: bool) -> Iterator[str]:
    """Prompts of standard input.

    Raises:
        SlonikError: a line that is not an object with a prompt.
    """
    import json

    from slonik.core.errors import SlonikError

    for number, raw in enumerate(sys.stdin, start=1):
        line = raw.rstrip("\r\n")
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


def _batches(prompts: Iterator[str], size: int) -> Iterator[tuple[list[str], int]]:
    """(prompts, number of the first)."""
    from itertools import islice

    first = 0
    while batch := list(islice(prompts, size)):
        yield batch, first
        first += len(batch)


def _print(prompt: str, text: str, writer: TextGenerator, *, jsonl: bool, one_line: bool) -> None:
    import json

    if jsonl:
        typer.echo(json.dumps({"prompt": prompt, "text": text}, ensure_ascii=False))
        return
    whole = text if writer.model.config.is_encoder_decoder else prompt + text
    typer.echo(whole.replace("\n", "\\n") if one_line else whole)
