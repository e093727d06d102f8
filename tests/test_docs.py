"""The pages keep their word: snippets run, commands exist with their options, links lead somewhere.

Every fenced block of README and guides runs here as it is written, offline, in a folder with small files under the
names that the pages use (`tests.docs.desk`): tiny models stand for the large ones, embedded:multilingual-e5-small too,
which would take the first block of README some minutes; so what is shown is that commands and code work, not what they
reach. A block that needs hours, the network or benchmark data says so in a comment on the line before it,
`<!-- not run: REASON -->`; the commands in it, and those between back quotes in running text, are parsed.
Sketches with [brackets] or | alternatives | of docs/design.md are left out.
"""

from __future__ import annotations

import ast
import re
import shlex
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main
from click import Command

import slonik.serving
from slonik.cli.main import build_app
from tests.cli.test_options import commands as all_commands
from tests.docs import desk
from tests.docs.snippets import RUNNABLE, Block, blocks, commands, indented, problem, run
from tests.installed import install

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "runs").glob("*.md")])
_CODE = re.compile(r"`(slonik [^`]+)`")
_END = re.compile(r"^(\||<|>|>>|2>.*|&&|;|#.*|·)$")


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


every_page = pytest.mark.parametrize("page", PAGES, ids=_name)


@every_page
def test_every_block_is_run_or_says_why_not(page: Path) -> None:
    assert {block.place: wrong for block in blocks(page) if (wrong := problem(block))} == {}
    assert indented(page) == []


@every_page
def test_what_another_test_runs_is_run_there(page: Path) -> None:
    for block in blocks(page):
        if block.mark == "run by":
            assert page.name in (ROOT / block.reason).read_text(encoding="utf-8"), block.place


def _to_run(page: Path) -> list[Block]:
    return [block for block in blocks(page) if not block.mark and block.language != "text"]


@pytest.fixture(scope="session")
def laid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The desk, laid once."""
    return desk.lay(tmp_path_factory.mktemp("desk"))


def _listening(models: Any, settings: Any, ready: Callable[[str], None]) -> None:
    """Stands for the server: everything before it listens has happened."""
    ready(f"http://{settings.host}:{settings.port}")


@pytest.mark.parametrize("page", [page for page in PAGES if _to_run(page)], ids=_name)
def test_blocks_of_the_page_run(page: Path, laid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(laid / "desk", tmp_path / "desk", symlinks=True)
    monkeypatch.chdir(tmp_path / "desk")
    monkeypatch.setenv("SLONIK_CACHE", str(laid / "cache"))
    install(monkeypatch, laid / "ships", desk.SHIPS)
    # who reads the front page has no benchmark data but what its commands name
    data = tmp_path / "desk" / ("data" if page.parent != ROOT else "nothing")
    monkeypatch.setenv("SLONIK_DATA", str(data))
    monkeypatch.setattr(slonik.serving, "run", _listening)
    names: dict[str, Any] = {}
    for block in _to_run(page):
        if page.name != "README.ru.md" or _meaning(block) not in _english():
            run(block, names)


def _meaning(block: Block) -> object:
    """What a block does, without its comments."""
    if block.language == "python":
        return ast.dump(ast.parse(block.text))
    return tuple(commands(block.text)) if block.language == "console" else block.text


@cache
def _english() -> set[object]:
    """Blocks that the English front page runs; the Russian one has the same with other comments."""
    return {_meaning(block) for block in _to_run(ROOT / "README.md") if block.language in RUNNABLE}


def test_the_first_screen_is_the_model_that_ships_four_lines_of_python_and_six_commands() -> None:
    for name in ("README.md", "README.ru.md"):
        install, shipped, everything, library, typed = blocks(ROOT / name)[:5]
        assert "pip install" in install.text and "pip install" in everything.text
        for block, count in ((shipped, 2), (library, 4)):
            lines = [line for line in block.text.splitlines() if line]
            assert (block.language, len(lines), block.mark) == ("python", count, "")
        assert (typed.language, len(commands(typed.text)), typed.mark) == ("console", 6, "")
        assert typed.line + 8 < 50


def test_both_front_pages_have_the_same_blocks() -> None:
    one, other = (
        [(block.mark, _meaning(block)) for block in blocks(ROOT / name) if block.language in RUNNABLE]
        for name in ("README.md", "README.ru.md")
    )
    assert one == other


@cache
def _known() -> dict[str, Command]:
    return all_commands(typer.main.get_command(build_app()))


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
    name += {"slonik bench": " models", "slonik board": " build", "slonik words": " ask"}.get(name, "")
    inner = ""
    if name in ("slonik launch", "slonik sweep"):  # they take a command and its options among their own
        words_of = [word for word in rest if not word.startswith("-")]
        found = [f"slonik {' '.join(words_of[:count])}" for count in (1, 2)]
        inner = next((one for one in reversed(found) if one in _known()), "")
        name = "slonik launch run" if name == "slonik launch" else name
        if words_of and not inner and not words_of[0].endswith(".yaml") and not words_of[0].isupper():
            return f"no command {words_of[0]!r} to {name.split()[1]}"
    if "--" in rest:
        rest = rest[: rest.index("--")]
    known = [*_known()[name].params, *(_known()[inner].params if inner else [])]
    options = {text for option in known for text in (*option.opts, *option.secondary_opts)}
    options |= {"--help", "-h", "--version"}
    unknown = [word for word in rest if word.startswith("--") and word.split("=")[0] not in options]
    return f"{name} has no {unknown[0]}" if unknown else None


@every_page
def test_commands_on_the_page_exist(page: Path) -> None:
    problems = {line: problem for line in _lines(page) if (problem := _problem(line))}
    assert problems == {}


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if not re.match(r"[a-z]+:", target)]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_a_wrong_command_would_be_found() -> None:
    assert _problem("slonik fly embedded:x") == "no command 'fly'"
    assert _problem("slonik compress m --wings 2 --out o") == "slonik compress has no --wings"
    assert _problem("slonik encode m < texts.txt > vectors.npy") is None
    assert _problem("slonik launch pretrain r.yaml --corpus a --on slurm") is None
    assert _problem("slonik launch pretrain r.yaml --wings 2") == "slonik launch run has no --wings"
    assert _problem("slonik sweep fly r") == "no command 'fly' to sweep"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("```sh\nls\n```", "known are"),
        ("```console\ncurl x\n```", "not marked"),
        ("<!-- not run: -->\n```console\nslonik show x\n```", "without a reason"),
        ("```text\nslonik show x\n```", "a command in a block of text"),
        ("<!-- not run: hours -->\n```text\nx\n```", "never run"),
        ("<!-- not run: hours -->\n```console\nmake demo\n```", None),
    ],
)
def test_a_wrong_block_would_be_found(tmp_path: Path, text: str, found: str | None) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    (block,) = blocks(page)
    wrong = problem(block)
    assert wrong is None if found is None else wrong is not None and found in wrong


def test_a_failing_block_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError, match=r"there is no folder \./nothing"):
        run(Block(Path("page.md"), 1, "console", "slonik show ./nothing"), {})
    with pytest.raises(ZeroDivisionError):
        run(Block(Path("page.md"), 1, "python", "1 / 0"), {})
