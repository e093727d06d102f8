"""Code blocks of the pages: read from Markdown, and run as a reader would type them.

A block that is not run has an HTML comment on the line before it: `<!-- not run: REASON -->`, or `<!-- run by:
tests/FILE.py -->` where another test runs it. Commands of slonik run in this process, other programs (zcat, awk) in a
shell; Python blocks of a page share their names. Blocks of one page run in their order, in one folder.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from slonik.cli.main import main

RUNNABLE = ("console", "python")
DATA = ("json", "yaml")
LANGUAGES = (*RUNNABLE, *DATA, "text")
SHELL_TOOLS = ("zcat", "cat", "cp", "mkdir")
_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,}|~{3,}|:{3,})(?P<language>.*)$")
_MARK = re.compile(r"^<!-- (?P<kind>not run|run by):(?P<reason>.*)-->$")
_COMMENTED = re.compile(r"\s+#\s.*$")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        line: where its fence opens, counted from 1.
        mark: "not run" or "run by"; empty where it is to be run.
        reason: what the mark says.
    """

    page: Path
    line: int
    language: str
    text: str
    mark: str = ""
    reason: str = ""

    @property
    def place(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page; directives of the site (`{toctree}`) are none."""
    return list(_blocks(page, page.read_text(encoding="utf-8").splitlines()))


def _blocks(page: Path, lines: list[str]) -> Iterator[Block]:
    number = 0
    while number < len(lines):
        opened = _FENCE.match(lines[number])
        if opened is None:
            number += 1
            continue
        indent, ticks, language = opened["indent"], opened["ticks"], opened["language"].strip()
        end = next((i for i in range(number + 1, len(lines)) if lines[i].strip() == ticks), None)
        assert end is not None, f"{page.name}:{number + 1}: the block has no end"
        if not language.startswith("{"):
            mark = _MARK.match(lines[number - 1].strip()) if number else None
            text = "\n".join(line.removeprefix(indent) for line in lines[number + 1 : end])
            kind, reason = (mark["kind"], mark["reason"].strip()) if mark else ("", "")
            yield Block(page, number + 1, language, text, kind, reason)
        number = end + 1


def indented(page: Path) -> list[int]:
    """Lines where a block is indented instead of fenced: nobody sees what language it is in."""
    found, inside = [], False
    lines = page.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if _FENCE.match(line):
            inside = not inside
        if not inside and re.match(r" {4,}\S", line) and number and not lines[number - 1].strip():
            found.append(number + 1)
    return found


def commands(text: str) -> list[str]:
    """The commands of a shell block, one each, with continued lines joined and comments left out."""
    joined = re.sub(r"\\\n\s*", " ", text)
    lines = [_COMMENTED.sub("", line.strip().removeprefix("$ ")) for line in joined.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def problem(block: Block) -> str | None:
    """What is wrong with how the block stands on its page, in words; None if nothing is."""
    if block.language not in LANGUAGES:
        return f"a block in {block.language or 'no language'}: known are {', '.join(LANGUAGES)}"
    if block.mark:
        if block.language not in RUNNABLE:
            return f"a mark before {block.language}, which is never run"
        return None if block.reason else "a mark without a reason"
    if block.language == "console":
        wrong = [line for line in commands(block.text) if shlex.split(line)[0] not in ("slonik", *SHELL_TOOLS)]
        return f"cannot be run by the test and is not marked: {wrong[0]}" if wrong else None
    if block.language == "text" and block.page.name != "design.md":
        typed = [line for line in block.text.splitlines() if re.match(r"\$? ?(slonik|pip|python|make) ", line)]
        return f"a command in a block of text: {typed[0]}" if typed else None
    return None


def run(block: Block, names: dict[str, Any]) -> None:
    """Run a block in the current folder; data blocks are parsed.

    Raises:
        AssertionError: a command that ends with another code than 0; what it printed is in the message.
    """
    if block.language == "python":
        for made in re.findall(r"out=\"([^\"]+)\"", block.text):
            _clear(made)
        exec(compile(block.text, block.place, "exec"), names)
    elif block.language == "console":
        for command in commands(block.text):
            _run_command(command, block.place)
    elif block.language == "json":
        json.loads(block.text)
    elif block.language == "yaml":
        yaml.safe_load(block.text)


def _run_command(command: str, place: str) -> None:
    words = shlex.split(command)
    if words[0] != "slonik":
        done = subprocess.run(["bash", "-euc", command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{place}: {command}\n{done.stderr}"
        return
    words, streams = _redirected(words)
    if "--out" in words:
        _clear(words[words.index("--out") + 1])
    with _standard(streams) as said:
        try:
            main(words[1:])
            code: object = 0
        except SystemExit as exit_:
            code = exit_.code or 0
    assert code == 0, f"{place}: {command} ended with {code}\n{said()}"


def _redirected(words: list[str]) -> tuple[list[str], dict[str, str]]:
    streams, rest, left = {}, [], iter(words)
    for word in left:
        if word in ("<", ">"):
            streams[word] = next(left)
        else:
            rest.append(word)
    return rest, streams


def _clear(place: str) -> None:
    """A result that lies on the desk for other pages is made anew by the page that makes it."""
    path = Path(place)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _standard(streams: dict[str, str]) -> Iterator[Any]:
    """Standard input and output of one command; yields a function that says what was printed."""
    before = sys.stdin, sys.stdout, sys.stderr
    out, err = Path(streams.get(">", ".stdout")), Path(".stderr")
    with (
        open(streams.get("<", "/dev/null"), encoding="utf-8") as stdin,
        open(out, "w", encoding="utf-8") as stdout,
        open(err, "w", encoding="utf-8") as stderr,
    ):
        sys.stdin, sys.stdout, sys.stderr = stdin, stdout, stderr
        try:
            yield lambda: err.read_text(encoding="utf-8", errors="replace")
        finally:
            sys.stdin, sys.stdout, sys.stderr = before
