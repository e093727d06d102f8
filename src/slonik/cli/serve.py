"""`slonik serve MODEL...`: models behind an HTTP API."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from slonik.cli.common import warn

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
            warn("open to the network without a key: set SLONIK_API_KEY")

    server.run(served, settings, tell)


def _load(model: str) -> ServedModel:
    """The model to serve; its id is the folder's name, or the name as it was given."""
    from slonik import load
    from slonik.models.kinds import kind_of
    from slonik.serving import ServedModel

    folder, kind = Path(model), kind_of(model)
    name = folder.resolve().name if folder.is_dir() else model
    if kind.name == "tagger":
        from slonik.tagging.models import load_tagger

        return ServedModel(name, load_tagger(model), aliases=(model,))
    if kind.stack == "decoder" and kind.writes:
        from slonik.models import load_generator

        writer = load_generator(model, dtype="auto")
        writer.name = name  # clients are told it; they need not know the path
        return ServedModel(name, writer, aliases=(model,))
    # Texts of many clients run side by side, each on one processor: that is faster than one text on all of them.
    options: dict[str, Any] = {"threads": 1} if kind.exported else {}
    return ServedModel(name, load(model, **options), aliases=(model,))
