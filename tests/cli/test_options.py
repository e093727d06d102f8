"""The command line is frozen: its commands and options are those listed in `options.txt`, and every one has help.

A change of the command line changes docs/design.md and that file; `python -m tests.cli.test_options` rewrites it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import typer.main
from click import Command

from slonik.cli.main import COMMAND_MODULES, build_app

LIST = Path(__file__).with_name("options.txt")


def commands(command: Command, trail: str = "slonik") -> dict[str, Command]:
    """Full name -> command, groups included."""
    found = {trail: command}
    for name, inner in getattr(command, "commands", {}).items():
        found |= commands(inner, f"{trail} {name}")
    return found


def listing() -> str:
    """One line per command, and per group with options of its own: arguments and options in their order."""
    lines = []
    for name, command in sorted(commands(typer.main.get_command(build_app())).items()):
        if getattr(command, "commands", None) and not command.params:
            continue
        parts = [max(p.opts, key=len) if p.param_type_name == "option" else str(p.name).upper() for p in command.params]
        lines.append(" ".join([name, *parts]))
    return "\n".join(lines) + "\n"


def test_commands_and_options_are_the_frozen_ones() -> None:
    assert listing() == LIST.read_text(encoding="utf-8")


def test_every_command_and_option_has_help() -> None:
    silent = []
    for name, command in commands(typer.main.get_command(build_app())).items():
        if not command.help:
            silent.append(name)
        silent += [f"{name} {p.opts}" for p in command.params if p.param_type_name == "option" and not p.help]  # type: ignore[attr-defined]
    assert silent == []


def test_help_needs_no_heavy_library() -> None:
    code = (
        "import sys; from slonik.cli.main import build_app; build_app(); "
        "heavy = {'torch', 'transformers', 'sklearn', 'onnxruntime', 'matplotlib', 'fastapi'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_module_of_commands_is_registered() -> None:
    import slonik.cli

    code = {path.stem: path.read_text() for path in Path(slonik.cli.__file__).parent.glob("*.py")}
    found = {name for name, own in code.items() if "def register(" in own or f"\ndef {name}(" in own} - {"main"}
    parts = {name for name in found if any(f"slonik.cli.{name} import" in other for other in code.values())}
    assert found - parts == set(COMMAND_MODULES)


if __name__ == "__main__":
    LIST.write_text(listing(), encoding="utf-8")
