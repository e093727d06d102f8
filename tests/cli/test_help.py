"""Help on eighty columns names every option whole."""

from __future__ import annotations

import pytest
import typer.main
from typer.testing import CliRunner

from slonik.cli.help import keep_names_whole
from slonik.cli.main import build_app


@pytest.mark.parametrize("command", ["compress", "export", "predict"])
def test_names_of_options_are_not_cut(command: str) -> None:
    keep_names_whole()
    app = build_app()
    narrow = {"COLUMNS": "80", "TERMINAL_WIDTH": "80"}
    shown = CliRunner().invoke(app, [command, "--help"], env=narrow).output
    options = [p for p in typer.main.get_command(app).commands[command].params if p.param_type_name == "option"]  # type: ignore[attr-defined]
    for option in options:
        if not option.hidden:
            assert all(f"{name} " in shown for name in (*option.opts, *option.secondary_opts) if "--" in name), (
                option.opts
            )
    assert max(map(len, shown.splitlines())) <= 80
