"""The floors of docs/design.md, the absence of import cycles, and docstrings that lead somewhere, read from the source.

Every import counts: those inside functions and under TYPE_CHECKING too, and `from package import name` is the module
`package.name` where there is one. Nothing counts lines.
"""

from __future__ import annotations

import ast
import importlib
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "slonik"

# From the ground up: a room imports from those before it. What is listed behind a room are the only ones it may use.
FLOORS = (
    "core", "text", "data", "reporting", "scaling", "runtime", "models", "train", "exporting", "evaluation",
    "words", "compression", "pretraining", "finetuning", "inspection", "tagging", "serving",
)  # fmt: skip
ONLY: dict[str, set[str]] = {
    "core": set(),
    "text": {"core"},
    "data": {"core", "text"},
    "reporting": {"core", "text"},
    "scaling": {"core", "text", "data", "reporting"},
    "runtime": {"core", "text", "data", "scaling"},
    "models": {"core", "text", "data", "runtime"},
    "train": {"core", "text", "data", "models"},
    "serving": {"core", "text", "runtime"},
}
TORCH_FREE = {"core", "text", "data", "reporting", "scaling", "runtime", "serving", "cli"}
HEAVY = {"torch", "transformers"}


@cache
def _modules() -> dict[str, Path]:
    """Dotted name -> file, packages by their own name."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def _tree(name: str) -> ast.Module:
    return ast.parse(_modules()[name].read_text(encoding="utf-8"))


@cache
def _imports(name: str) -> frozenset[str]:
    """Modules of slonik, and top-level names of others, that a module imports anywhere in it."""
    known, found = _modules(), set()
    for node in ast.walk(_tree(name)):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import"
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            targets = [target if target in known else str(node.module) for target in whole]
        else:
            continue
        found |= {target if target in known else target.split(".")[0] for target in targets}
    return frozenset(found - {name})


def _room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


@pytest.mark.parametrize("room", FLOORS)
def test_a_room_imports_from_floors_below_it_only(room: str) -> None:
    allowed = ONLY.get(room, set(FLOORS[: FLOORS.index(room)])) | {room}
    wrong = [
        f"{name} imports {target}"
        for name in _modules()
        if _room(name) == room
        for target in _imports(name)
        if target.split(".")[0] == "slonik" and _room(target) not in allowed
    ]
    assert wrong == []


def test_every_folder_is_a_room_of_the_design() -> None:
    folders = {path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == {*FLOORS, "cli"}


def test_torch_free_rooms_do_not_import_torch() -> None:
    wrong = [
        f"{name} imports {target}"
        for name in _modules()
        if _room(name) in TORCH_FREE or "." not in name.removeprefix("slonik.")
        for target in _imports(name) & HEAVY
    ]
    assert wrong == []


def test_no_module_is_in_an_import_cycle() -> None:
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail[trail.index(name) :], name))
        if name not in done:
            for target in sorted(_imports(name) & _modules().keys()):
                visit(target, (*trail, name))
            done.add(name)

    for name in _modules():
        visit(name, ())


def _public(tree: ast.Module) -> list[ast.FunctionDef | ast.ClassDef]:
    return [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ]


def test_every_module_and_public_name_says_what_it_does() -> None:
    """A docstring that only repeats the name says nothing."""
    wrong = []
    for name in _modules():
        tree = _tree(name)
        texts: list[tuple[str, str | None]] = [(name, ast.get_docstring(tree))]
        texts += [(f"{name}.{node.name}", ast.get_docstring(node)) for node in _public(tree)]
        for place, text in texts:
            if place == "slonik.__main__":
                continue
            words = re.findall(r"\w+", (text or "").lower())
            if len(words) < 3:
                wrong.append(f"{place}: {text!r}")
    assert wrong == []


def _named_modules(text: str) -> set[str]:
    """Dotted names of slonik in back quotes, and paths below src/slonik, those of other files as they are."""
    found = set(re.findall(r"`(slonik(?:\.\w+)+)", text))
    for path, suffix in re.findall(r"src/slonik/([\w/]+)(\.\w+)?", text):
        other = suffix not in ("", ".py")
        found.add(f"src/slonik/{path}{suffix}" if other else "slonik." + path.strip("/").replace("/", "."))
    return found


def _exists(name: str) -> bool:
    """Whether `name` is a module, or an attribute (of an attribute) of one."""
    if "/" in name:
        return (ROOT / name).is_file()
    if name in _modules() or (SOURCE.parent / Path(*name.split("."))).is_dir():
        return True
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:cut])
        if module in _modules():
            value = importlib.import_module(module)
            for attribute in parts[cut:]:
                if not hasattr(value, attribute):
                    return False
                value = getattr(value, attribute)
            return True
    return False


def _docstrings(name: str) -> str:
    nodes = (n for n in ast.walk(_tree(name)) if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef))
    return "\n".join(ast.get_docstring(node) or "" for node in nodes)


def test_modules_named_in_docstrings_exist() -> None:
    wrong = [
        f"{name}: {named}" for name in _modules() for named in _named_modules(_docstrings(name)) if not _exists(named)
    ]
    assert wrong == []


def _pages() -> list[Path]:
    """Readme, guides and design; the log and the changelog tell of the past, names included."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return sorted(path for path in found if path.name not in ("log.md", "CHANGELOG.md"))


@pytest.mark.parametrize("page", _pages(), ids=lambda path: path.name)
def test_modules_named_in_docs_exist(page: Path) -> None:
    wrong = [named for named in _named_modules(page.read_text(encoding="utf-8")) if not _exists(named)]
    assert wrong == []
