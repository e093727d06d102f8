"""What a result depends on, as hashes: corpora, checkpoints, rows, packages, code.

Identity is everything that decides the result: the content of files and not their places or dates; of a checkpoint
config, tokenizer and sentence modules as well as weights; and of the code its meaning. A large file is hashed once and
remembered by path, size, times and inode. Nothing here says which inputs a step has: the step does.
"""

from __future__ import annotations

import ast
import fnmatch
import functools
import glob
import hashlib
import importlib.metadata
import inspect
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar, cast

from slonik.core.errors import SlonikError
from slonik.core.files import write_json
from slonik.core.hashing import sha256_bytes, sha256_file, sha256_json, sha256_texts
from slonik.core.paths import cache_dir
from slonik.core.version import __version__

T = TypeVar("T", str, bool)

HUB = "hub:"
LARGE_BYTES = 1 << 20
"""Files from this size on are remembered; smaller ones are read each time."""
RACY_NS = 2_000_000_000
"""A file that was changed so shortly ago may change again without its times telling: it is not remembered."""
_MOST_PARTS = 1000

NOT_DECIDING = (
    "passport.json", "run.json", "records.json", "results.json", "steps.json", "*.md", "*.html", "*.png", "*.svg",
    "*.pdf", "metrics.jsonl", "tensorboard/*", "predictions/*", "LICENSE*", "NOTICE*", "Dockerfile*", ".*", "*/.*",
)  # fmt: skip
"""Files of a checkpoint that tell of it and change nothing in what it computes."""


CUTS_LINE = re.compile(rb'\n *"matryoshka_dimensions": \[[\s\d,]*\],')
"""The line of a config.json that `slonik.text.matryoshka.note_cuts` writes, before another."""


class Identity(str):
    """A SHA-256 in hexadecimal that knows what it was made of, so that a later run can say what has changed.

    Attributes:
        parts: name of a part (a file of the folder) -> its hash; empty where there are none or too many.
    """

    parts: dict[str, str]

    @classmethod
    def of(cls, parts: Mapping[str, str]) -> Self:
        """The identity of named parts, in their order."""
        found = cls(sha256_json([[name, value] for name, value in parts.items()]))
        found.parts = dict(parts) if len(parts) <= _MOST_PARTS else {}
        return found


def file_identity(path: str | Path) -> str:
    """SHA-256 of a file's content.

    Raises:
        SlonikError: it is not there or cannot be read.
    """
    return known_of(path, "sha256", sha256_file)


def known_of(path: str | Path, name: str, work: Callable[[Path], T]) -> T:
    """What `work(file)` finds in the content of a file, a text or a truth; of a large file it is found once.

    Args:
        path: the file. It is another one when its size, times or inode are others.
        name: of what is found, and of the code that decides it.

    Raises:
        SlonikError: the file is not there or cannot be read, or what `work` raises.
    """
    file = Path(path).absolute()
    try:
        before = _stamp(file)
        if before["size"] < LARGE_BYTES:
            return work(file)
        memory = cache_dir() / "hashes" / sha256_bytes(str(file).encode("utf-8", "surrogateescape"))[:32]
        known = _remembered(memory)
        if known.get("stamp") == before and isinstance(known.get(name), str | bool):
            return cast(T, known[name])
        found = work(file)
        after = _stamp(file)
        if after == before and time.time_ns() - max(after["mtime"], after["ctime"]) > RACY_NS:
            known = _remembered(memory)  # once more: others may have added to it
            others = known if known.get("stamp") == after else {}
            _remember(memory, {**others, "path": str(file), "stamp": after, name: found})
        return found
    except FileNotFoundError:
        raise SlonikError(f"there is no file {path}") from None
    except OSError as error:
        raise SlonikError(f"cannot read {path}: {error.strerror or error}") from None


def folder_identity(
    folder: str | Path, patterns: Sequence[str] = ("*",), *, without: Sequence[str] = (".*", "*/.*")
) -> Identity:
    """Identity of the files under `folder`: their names within it and their contents.

    Args:
        patterns: names (paths within the folder, with / between) that count; `*` goes over / too.
        without: names that do not count.

    Raises:
        SlonikError: there is no such folder, or a file cannot be read.
    """
    root = Path(folder)
    if not root.is_dir():
        raise SlonikError(f"there is no folder {folder}")
    counting = [name for name in _names(root) if _matches(name, patterns) and not _matches(name, without)]
    return Identity.of({name: file_identity(root / name) for name in counting})


def checkpoint_identity(folder: str | Path) -> Identity:
    """Identity of all that decides what a checkpoint computes: weights, config, tokenizer, sentence modules, heads.

    Everything in the folder counts but what is known only to tell of it (`NOT_DECIDING`), and the line of config.json
    that says which leading dimensions were measured: measuring makes no other checkpoint.

    Raises:
        SlonikError: there is no such folder, or a file cannot be read.
    """
    found = folder_identity(folder, without=NOT_DECIDING)
    config = Path(folder) / "config.json"
    if "config.json" in found.parts and (content := config.read_bytes()) != (rest := CUTS_LINE.sub(b"", content)):
        return Identity.of(found.parts | {"config.json": sha256_bytes(rest)})
    return found


def package_identity(distribution: str) -> Identity:
    """Identity of an installed package: version, and the hashes of its files as it was installed.

    Raises:
        SlonikError: it is not installed.
    """
    try:
        found = importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        raise SlonikError(f"the package {distribution} is not installed: pip install {distribution}") from None
    return Identity.of({"version": found.version, "files": sha256_bytes((found.read_text("RECORD") or "").encode())})


def corpus_identity(sources: str | Path | Sequence[str | Path], *, suffixes: Sequence[str] | None = None) -> Identity:
    """Identity of corpora: the contents and names of all their files in reading order.

    Args:
        sources: files, folders (every file in them), patterns like `news/*.txt`, and `hub:NAME`, which counts by its
            name alone, for what the hub has is not at hand.
        suffixes: endings of the files of a folder that are read (`.gz` may follow), hidden ones too, as the readers
            do; None = all that are not hidden.

    Raises:
        SlonikError: a source that is not there or has no file.
    """
    parts: dict[str, str] = {}
    for number, source in enumerate([sources] if isinstance(sources, str | Path) else sources):
        name = str(source)
        if name.startswith(HUB):
            found = {name: name}
        else:
            found = {label: file_identity(path) for label, path in _corpus_files(name, suffixes)}
        for label, value in found.items():  # two sources may have files of one name, and their order counts
            parts[free_name(label, parts, number)] = value
    return Identity.of(parts)


def free_name(name: str, taken: Mapping[str, Any], number: int) -> str:
    """`name`, or where it is taken already, with `number` before it, as often as it takes."""
    while name in taken:
        name = f"{number}:{name}"
    return name


def texts_identity(texts: Iterable[str]) -> str:
    """Identity of texts in memory, in their order."""
    return sha256_texts(texts)


def rows_identity(rows: Any) -> str:
    """Identity of rows in memory: a sequence of mappings, or a data frame (anything with `to_dict("records")`)."""
    records = rows.to_dict("records") if hasattr(rows, "to_dict") else rows
    return sha256_texts(json.dumps(dict(row), ensure_ascii=False, sort_keys=True, default=str) for row in records)


def code_identity(*modules: str, work: Callable[..., Any] | None = None) -> Identity:
    """Identity of the meaning of code: modules and all of slonik that they import, at the top or in functions.

    Comments, docstrings, layout and type-checking imports do not count, and neither does the frame itself (`_FRAME`:
    progress, errors, files, reports, the command line). Without readable sources the version of slonik stands for all.

    Args:
        modules: dotted names.
        work: a function that counts too: by itself where modules are given, else with its whole module.
    """
    while isinstance(work, functools.partial):
        work = work.func
    names = modules or ((work.__module__,) if work is not None else ())
    parts = _reached(tuple(names))
    if work is not None and modules:
        parts = parts | {f"{work.__module__}:{getattr(work, '__qualname__', type(work).__name__)}": _function(work)}
    return Identity.of(dict(sorted(parts.items())))


def code_of(model: Any, *modules: str) -> Identity:
    """Identity of the code that computes with a loaded model: its class, and the parts of its network (`model.model`)
    whose classes are slonik's or came with the checkpoint.

    Args:
        modules: further ones that decide.
    """
    network: Any = getattr(model, "model", None)
    parts = network.modules() if hasattr(network, "modules") else ()
    inside = {type(part).__module__ for part in parts}
    return code_identity(type(model).__module__, *modules, *sorted(name for name in inside if name.startswith(_OURS)))


# files


def _names(root: Path, inside: tuple[str, ...] = ()) -> list[str]:
    """Files under a folder, those behind links to folders too, by their paths within it, in order."""
    real = os.path.realpath(root)
    if real in inside:  # a link that leads back
        return []
    found = []
    for path in root.iterdir():
        if path.is_dir():
            found += [f"{path.name}/{name}" for name in _names(path, (*inside, real))]
        elif path.is_file():
            found.append(path.name)
    return sorted(found)


def _stamp(path: Path) -> dict[str, int]:
    facts = path.stat()
    return {"size": facts.st_size, "mtime": facts.st_mtime_ns, "ctime": facts.st_ctime_ns, "inode": facts.st_ino}


def _remembered(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _remember(path: Path, content: Mapping[str, Any]) -> None:
    try:
        write_json(path, content)
    except SlonikError:
        return  # a full disk or a read-only cache costs time, and nothing else


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _corpus_files(source: str, suffixes: Sequence[str] | None) -> list[tuple[str, Path]]:
    """(name, path) of the files of one source."""
    path = Path(source).expanduser()
    if path.is_dir():
        names = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
        if suffixes is None:
            kept = [name for name in names if not _matches(name, (".*", "*/.*"))]
        else:
            kept = [name for name in names if _ending(name) in suffixes or name.endswith(".ranges.tsv")]
        if not kept:
            raise SlonikError(f"no file of a corpus in {source}")
        return [(name, path / name) for name in kept]
    if path.exists():
        files = [path]
    else:
        found = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207
        files = [Path(name) for name in found if Path(name).is_file()]
    if not files:
        raise SlonikError(f"corpus not found: {source}")
    beside = [file.with_name(f"{Path(file.name.removesuffix('.gz')).stem}.ranges.tsv") for file in files]
    named: dict[str, Path] = {}
    for number, file in enumerate([*files, *(other for other in beside if other.is_file())]):
        named[free_name(file.name, named, number)] = file
    return list(named.items())


def _ending(name: str) -> str:
    return Path(name.lower().removesuffix(".gz")).suffix


# code

_FRAME = (
    "slonik.cli", "slonik.reporting", "slonik.library", "slonik.core.errors", "slonik.core.files",
    "slonik.core.identity", "slonik.core.run", "slonik.core.progress", "slonik.core.passport", "slonik.core.version",
)  # fmt: skip
"""Modules that decide how work is framed and shown, and not what comes out of it."""
_PACKAGE = "slonik"
_OURS = (f"{_PACKAGE}.", "transformers_modules.")
"""Where classes of networks are from whose code may change while no version does."""
_MOST_REMEMBERED = 5000


@functools.cache
def _reached(names: tuple[str, ...]) -> dict[str, str]:
    """Module -> fingerprint of `names` and of everything of slonik that they import."""
    memory = cache_dir() / "hashes" / f"code-{sys.version_info[0]}.{sys.version_info[1]}"
    known = _remembered(memory)
    fresh: dict[str, Any] = {}
    found: dict[str, str] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found or name.startswith(_FRAME):
            continue
        path = _source(name)
        if path is None:
            if name.startswith(f"{_PACKAGE}.") and _source(__name__) is not None:
                raise ValueError(f"there is no module {name}")
            found[name] = f"version {__version__}"
            continue
        content = path.read_bytes()
        key = sha256_bytes(content)[:32]
        if key not in known:
            known[key] = fresh[key] = _facts_of(content)
        found[name], imports = str(known[key][0]), known[key][1]
        waiting += [target for target in imports if _source(target) is not None]
        if "." in name and (package := name.rpartition(".")[0]) != _PACKAGE:
            waiting.append(package)
    if fresh:
        _remember(memory, known if len(known) < _MOST_REMEMBERED else fresh)
    return found


@functools.cache
def _source(module: str) -> Path | None:
    """The file of a module of slonik, where there is one to read; of any other module that is loaded."""
    if module == _PACKAGE or module.startswith(f"{_PACKAGE}."):
        place = Path(__file__).resolve().parents[1].joinpath(*module.split(".")[1:])
        choices = [place / "__init__.py", place.with_suffix(".py")]
        return next((path for path in choices if path.is_file()), None)
    loaded = getattr(sys.modules.get(module), "__file__", None)
    return Path(loaded) if loaded and loaded.endswith(".py") else None


@functools.cache
def _facts_of(content: bytes) -> tuple[str, list[str]]:
    """Fingerprint of a source, and the modules of slonik that it may import."""
    tree = _Plain().visit(ast.parse(content))
    imports: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imports |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    ours = sorted(name for name in imports if name == _PACKAGE or name.startswith(f"{_PACKAGE}."))
    return sha256_bytes(ast.dump(tree).encode())[:16], [name for name in ours if name != _PACKAGE]


class _Plain(ast.NodeTransformer):
    """Takes away what changes no result: docstrings, and imports for type checkers."""

    def visit(self, node: ast.AST) -> Any:
        node = self.generic_visit(node)
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [one for one in body if not _is_remark(one)]
            node.body = kept or [ast.Pass()]  # type: ignore[attr-defined]
        return node


def _is_remark(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return True
    for_types = isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
    return for_types and not node.orelse  # type: ignore[attr-defined]


def _function(work: Callable[..., Any]) -> str:
    """Fingerprint of one function; of a lambda, all lambdas of its line."""
    code = getattr(inspect.unwrap(work), "__code__", None)
    path = _source(work.__module__)
    if code is None or path is None:
        return f"version {__version__}"
    return _function_at(path.read_bytes(), code.co_firstlineno)


@functools.cache
def _function_at(content: bytes, line: int) -> str:
    """Fingerprint of the functions that begin in a line of a source."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    found = [node for node in ast.walk(ast.parse(content)) if isinstance(node, kinds) and _first_line(node) == line]
    return hashlib.sha256("".join(ast.dump(_Plain().visit(node)) for node in found).encode()).hexdigest()[:16]


def _first_line(node: Any) -> int:
    lines = [node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))]
    return min(lines)
