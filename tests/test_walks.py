"""The walks of CONTRIBUTING.md are true: each step exists, and its code refers to the next and to those under it."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

_PAGE = Path(__file__).parents[1] / "CONTRIBUTING.md"
_STEP = re.compile(r"^(?P<inner>   - |\d+\. )`(?P<name>slonik(\.\w+)+)`: .+$")


@dataclass
class Step:
    """A step of a walk, with the steps that stand under it."""

    name: str
    inner: list[str] = field(default_factory=list)


@cache
def _walks() -> list[list[Step]]:
    """Every numbered list whose items begin with a name of slonik."""
    walks: list[list[Step]] = []
    section = _PAGE.read_text(encoding="utf-8").partition("## Two walks")[2]
    for line in section.splitlines():
        found = _STEP.match(line)
        if found is None:
            assert not re.match(r"\s*(-|\d+\.) ", line), f"a step in another form: {line}"
            continue
        if found["inner"].startswith("1."):
            walks.append([])
        if found["inner"].strip() == "-":
            walks[-1][-1].inner.append(found["name"])
        else:
            walks[-1].append(Step(found["name"]))
    return walks


def _pairs() -> Iterator[tuple[str, str]]:
    """(step, what its code must refer to)."""
    for walk in _walks():
        for number, step in enumerate(walk):
            yield from ((step.name, name) for name in step.inner)
            if number + 1 < len(walk):
                yield step.name, walk[number + 1].name


def _resolved(name: str) -> Any:
    """The module, class, function or method of a dotted name."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            value: Any = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            value = getattr(value, part)
        return value
    raise AssertionError(f"there is no {name}")


def _refers(step: Any, target: Any) -> bool:
    """Whether the code of `step` names `target`: as a global, or by an import inside it."""
    module = step if isinstance(step, ModuleType) else inspect.getmodule(step)
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(step)))):
        if isinstance(node, ast.Name) and vars(module).get(node.id) is target:
            return True
        if isinstance(node, ast.ImportFrom):
            source = importlib.import_module(str(node.module))
            if any(getattr(source, alias.name, None) is target for alias in node.names):
                return True
    return False


def test_there_are_two_walks_and_one_of_them_forks() -> None:
    assert [len(walk) for walk in _walks()] == [5, 3, 8]
    torch, onnx, compress = ([step.name for step in walk] for walk in _walks())
    assert torch[2] == onnx[0] == "slonik.models.opening._open"
    assert compress[-1] == "slonik.compression.surgery.apply"


@pytest.mark.parametrize(("name", "target"), list(_pairs()))
def test_a_step_refers_to_the_next(name: str, target: str) -> None:
    assert _refers(_resolved(name), _resolved(target))


def test_a_step_that_leads_nowhere_would_be_found() -> None:
    assert not _refers(_resolved("slonik.cli.encode"), _resolved("slonik.compression.surgery.apply"))
    with pytest.raises((AssertionError, AttributeError)):
        _resolved("slonik.compression.surgery.saw")
