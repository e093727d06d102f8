"""The import rules of docs/design.md, and the size limits of files and functions, read from the source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "slonik"

# Package -> what it may import of slonik, as in the layout table of docs/design.md.
ALLOWED: dict[str, set[str]] = {
    "core": set(),
    "data": {"core"},
    "tokenizers": {"core", "data"},
    "runtime": {"core"},
    "models": {"core"},
    "objectives": {"core"},
    "train": {"core", "data"},
    "compress": {"core", "models"},
    "export": {"core", "models", "runtime"},
    "evaluate": {"core", "data", "runtime"},
    "analyze": {"core", "data", "models", "objectives", "compress"},
    "report": {"core"},
    "serve": {"core", "runtime"},
    "recipes": {
        "core", "data", "tokenizers", "runtime", "models", "objectives", "train", "compress", "export", "evaluate",
        "analyze", "report",
    },
}  # fmt: skip
# Fine-tuning alone may reach into training; decoders and taggers are served through models.
ALLOWED_FOR: dict[str, set[str]] = {
    "evaluate/finetune": {"models", "objectives", "train"},
    "serve/decoder": {"models"},
    "serve/tagger": {"models"},
    # Taggers speak of spans, words and tags, which belong to the annotation formats.
    "models/tagging": {"data"},
}
# The worker processes of `slonik bench` open contenders through the public door, as a user would.
OPENS_MODELS_BY_NAME = {"evaluate"}
TORCH_FREE = {"core", "data", "runtime", "report", "serve", "cli"}
LONGEST_FILE_LINES = 400
LONGEST_FUNCTION_LINES = 60


def _modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def _imports(tree: ast.AST) -> list[str]:
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names += whole if node.module == "slonik" else [node.module]
    return names


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_package_imports_only_what_the_design_allows(package: str) -> None:
    wrong = []
    for path in (SOURCE / package).rglob("*.py"):
        place = path.relative_to(SOURCE).with_suffix("").as_posix()
        allowed = ALLOWED[package] | {package}
        for prefix, extra in ALLOWED_FOR.items():
            if place.startswith(prefix):
                allowed |= extra
        for name in _imports(ast.parse(path.read_text(encoding="utf-8"))):
            parts = name.split(".")
            if name == "slonik.load" and package in OPENS_MODELS_BY_NAME:
                continue
            if parts[0] == "slonik" and len(parts) > 1 and parts[1] not in allowed:
                wrong.append(f"{place} imports {name}")
    assert wrong == []


def test_torch_free_packages_do_not_import_torch() -> None:
    wrong = []
    for path in _modules():
        place = path.relative_to(SOURCE)
        if place.parts[0] not in TORCH_FREE and len(place.parts) > 1:
            continue
        for name in _imports(ast.parse(path.read_text(encoding="utf-8"))):
            if name.split(".")[0] in ("torch", "transformers"):
                wrong.append(f"{place} imports {name}")
    assert wrong == []


def test_no_module_of_slonik_is_in_an_import_cycle() -> None:
    graph: dict[str, set[str]] = {}
    for path in _modules():
        name = "slonik." + path.relative_to(SOURCE).with_suffix("").as_posix().replace("/", ".")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        top_level = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        graph[name] = {target for node in top_level for target in _imports(node) if target.startswith("slonik.")}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in done:
            for target in graph.get(name, ()):
                visit(target, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_files_and_functions_stay_short() -> None:
    wrong = []
    for path in _modules():
        text = path.read_text(encoding="utf-8")
        lines = text.count("\n")
        if lines > LONGEST_FILE_LINES:
            wrong.append(f"{path.name}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > LONGEST_FUNCTION_LINES:
                    wrong.append(f"{path.name}: {node.name} has {length} lines")
    assert wrong == []


def test_every_public_name_and_module_has_a_docstring() -> None:
    wrong = []
    for path in _modules():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if not ast.get_docstring(tree) and path.name != "__main__.py":
            wrong.append(f"{path.relative_to(SOURCE)}: module")
        for node in tree.body:
            public = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
            if public and not ast.get_docstring(node):
                wrong.append(f"{path.relative_to(SOURCE)}: {node.name}")
    assert wrong == []
