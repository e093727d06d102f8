"""The guides keep their word: commands in them exist with their options, and links lead somewhere.

Commands are parsed, not run: what they do is tested where they are. Sketches with [brackets] or | alternatives | of
docs/design.md are left out.
"""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path

import pytest
import typer.main
from click import Command

from slonik.cli.main import build_app
from tests.cli.test_options import commands

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "runs").glob("*.md")])
_CODE = re.compile(r"`(slonik [^`]+)`")
_END = re.compile(r"^(\||<|>|>>|2>.*|&&|;|#.*|·)$")


@cache
def _known() -> dict[str, Command]:
    return commands(typer.main.get_command(build_app()))


def _lines(page: Path) -> list[str]:
    """Everything on a page that a reader may type."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    found = _CODE.findall(text)
    found += [line.strip().removeprefix("$ ") for line in text.splitlines()]
    return [line for line in found if re.match("slonik [a-z]", line) and not re.search(r"\[|\||…|, \.\.\.", line)]


def _parts(line: str) -> list[str]:
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        words = line.split()
    ends = [number for number, word in enumerate(words) if _END.match(word)]
    return words[: ends[0]] if ends else words


def _problem(line: str) -> str | None:
    words = _parts(line)
    name = "slonik"
    rest = words[1:]
    while rest and f"{name} {rest[0]}" in _known():
        name, rest = f"{name} {rest[0]}", rest[1:]
    if name == "slonik" and rest and not rest[0].startswith("-"):
        return f"no command {rest[0]!r}"
    if name == "slonik bench":
        name = "slonik bench models"
    if "--" in rest:
        rest = rest[: rest.index("--")]
    options = {text for option in _known()[name].params for text in (*option.opts, *option.secondary_opts)}
    options |= {"--help", "-h", "--version"}
    unknown = [word for word in rest if word.startswith("--") and word.split("=")[0] not in options]
    return f"{name} has no {unknown[0]}" if unknown else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_on_the_page_exist(page: Path) -> None:
    problems = {line: problem for line in _lines(page) if (problem := _problem(line))}
    assert problems == {}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if not re.match(r"[a-z]+:", target)]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_a_wrong_command_would_be_found() -> None:
    assert _problem("slonik fly embedded:x") == "no command 'fly'"
    assert _problem("slonik compress m --wings 2 --out o") == "slonik compress has no --wings"
    assert _problem("slonik encode m < texts.txt > vectors.npy") is None
