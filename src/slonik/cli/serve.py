"""`slonik serve MODEL...`: models behind an HTTP API."""

from __future__ import annotations

import typer

from slonik.cli.common import ConvertWeights, LongTexts, Pooling, warn
from slonik.cli.numbers import COUNT, whole


def register(app: typer.Typer) -> None:
    """Add the `serve` command."""
    app.command("serve")(serve)


def serve(
    models: list[str] | None = typer.Argument(
        None,
        metavar="[MODEL]...",
        help="Folders (exported ones run without torch), hub ids, embedded:NAME: encoders, classifiers, rerankers, "
        "taggers, decoders. NAME=MODEL serves one under a name. The encoder that ships if none.",
    ),
    host: str = typer.Option("127.0.0.1", help="Address to listen on; 0.0.0.0 opens the server to the network."),
    port: int = typer.Option(8000, help="Port; 0 = any free one.", **whole(0, 65535)),
    api_key: str | None = typer.Option(
        None, envvar="SLONIK_API_KEY", help="Key that clients must send; the variable keeps it out of process lists."
    ),
    max_batch_tokens: int = typer.Option(2048, help="Most tokens of one pass through a model.", **COUNT),
    max_queue: int = typer.Option(1024, help="Texts that may wait per model; more are answered 429 at once.", **COUNT),
    threads: int | None = typer.Option(
        None, help="Processors that each model may use; otherwise all that this process or its container may.", **COUNT
    ),
    file: str | None = typer.Option(
        None, help="ONNX file of the exported folders (default: int8, else fp32, else fp16)."
    ),
    long_texts: LongTexts = None,
    pooling: Pooling = None,
    convert_weights: ConvertWeights = False,
) -> None:
    """Serve models over HTTP with the OpenAI API's routes; the API is explained at /docs."""
    from slonik.library import serve as run

    def tell(url: str, names: list[str]) -> None:
        typer.echo(f"serving {', '.join(names)} at {url}/v1 (docs: {url}/docs); stop with Ctrl-C", err=True)
        if api_key is None and host not in ("127.0.0.1", "localhost", "::1"):
            warn("open to the network without a key: set SLONIK_API_KEY")

    run(
        models, host=host, port=port, api_key=api_key, max_batch_tokens=max_batch_tokens, max_queue=max_queue,
        threads=threads, file=file, long_texts=long_texts,  # type: ignore[arg-type]  # checked by the settings
        pooling=pooling, ready=tell,
    )  # fmt: skip
