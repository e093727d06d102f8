"""`slonik serve MODEL...`: models behind an HTTP API."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from slonik.serving import ServedModel


def register(app: typer.Typer) -> None:
    """Add the `serve` command."""
    app.command("serve")(serve)


def serve(
    models: list[str] = typer.Argument(
        metavar="MODEL...", help="Folders (exported ones run without torch), hub ids, embedded:NAME, decoders, taggers."
    ),
    host: str = typer.Option("127.0.0.1", help="Address to listen on; 0.0.0.0 opens the server to the network."),
    port: int = typer.Option(8000, min=0, max=65535, help="Port; 0 = any free one."),
    api_key: str | None = typer.Option(
        None, envvar="SLONIK_API_KEY", help="Key that clients must send; the variable keeps it out of process lists."
    ),
    max_batch_tokens: int = typer.Option(2048, min=1, help="Most tokens of one pass through a model."),
    max_queue: int = typer.Option(1024, min=1, help="Texts that may wait per model; more are answered 429 at once."),
) -> None:
    """Serve models over HTTP with the OpenAI API's routes; the API is explained at /docs."""
    from slonik import serving as server
    from slonik.core.config import build_config

    settings = build_config(
        server.ServeSettings,
        {
            "host": host, "port": port, "api_key": api_key, "max_batch_tokens": max_batch_tokens,
            "max_queue": max_queue,
        },
        source="the options",
    )  # fmt: skip
    served = [_load(model) for model in models]

    def tell(url: str) -> None:
        names = ", ".join(model.id for model in served)
        typer.echo(f"serving {names} at {url}/v1 (docs: {url}/docs); stop with Ctrl-C", err=True)
        if api_key is None and host not in ("127.0.0.1", "localhost", "::1"):
            typer.echo("warning: open to the network without a key: set SLONIK_API_KEY", err=True)

    server.run(served, settings, tell)


def _load(model: str) -> ServedModel:
    """The model to serve; its id is the folder's name, or the name as it was given."""
    from slonik import load
    from slonik.serving import ServedModel
    from slonik.serving.decoder import is_decoder, load_decoder
    from slonik.serving.tagger import is_tagger, open_tagger

    folder = Path(model)
    name = folder.resolve().name if folder.is_dir() else model
    if is_decoder(folder):
        return ServedModel(name, load_decoder(folder), aliases=(model,))
    if is_tagger(folder):
        return ServedModel(name, open_tagger(folder), aliases=(model,))
    # Texts of many clients run side by side, each on one processor: that is faster than one text on all of them.
    options: dict[str, Any] = {"threads": 1} if (folder / "onnx").is_dir() else {}
    return ServedModel(name, load(model, **options), aliases=(model,))
