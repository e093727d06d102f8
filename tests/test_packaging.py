"""pyproject.toml says what is so: extras bring what commands ask for, no module has two owners, ranges are bounded.

Read from the project's files and from what is installed here (`make` installs everything); nothing is fetched.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import runpy
import sys
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from slonik.core.errors import EXTRA_OF_PACKAGE
from slonik.models.distributions import check_files, read_content

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
FOR_USERS = sorted(set(EXTRAS) - {"dev", "docs"})

WITHOUT_EXTRA = {"fastembed", "sentence_transformers"}
"""Peers that `slonik bench` measures beside ours where they are there."""

NOT_IN_DEV = {"ray": "ray", "umap": "umap-learn"}
"""Extras, named as their module, and distributions that `make` does not install: what these bring is not known here."""

GPU = ("nvidia-", "cuda-", "triton")
"""What a build of torch for GPUs brings besides; the pinned one is for CPUs."""


def _direct(requirements: Iterable[str]) -> list[Requirement]:
    """Requirements of this machine, those of slonik's own extras in their place."""
    found = []
    for requirement in map(Requirement, requirements):
        if requirement.name == "slonik":
            found += _direct(line for extra in sorted(requirement.extras) for line in EXTRAS[extra])
        elif not requirement.marker or requirement.marker.evaluate():
            found.append(requirement)
    return found


@cache
def _requires(distribution: str) -> list[Requirement]:
    try:
        return [Requirement(line) for line in importlib.metadata.requires(distribution) or []]
    except importlib.metadata.PackageNotFoundError:
        assert distribution in NOT_IN_DEV.values()
        return []


@cache
def _brings(extra: str) -> frozenset[str]:
    """Distributions that slonik[extra] installs, requirements of requirements too, by canonical names."""
    found: set[tuple[str, str]] = set()
    open_ = _direct([*PROJECT["dependencies"], *EXTRAS.get(extra, [])])
    while open_:
        requirement = open_.pop()
        name = canonicalize_name(requirement.name)
        for wanted in ("", *sorted(requirement.extras)):
            if (name, wanted) in found:
                continue
            found.add((name, wanted))
            if name.startswith(GPU):
                continue
            for needed in _requires(name):
                if not needed.marker or needed.marker.evaluate({"extra": wanted}):
                    open_.append(needed)
    return frozenset(name for name, _ in found)


@cache
def _owners() -> dict[str, frozenset[str]]:
    """Module or package at the top -> the distributions that have it."""
    owners = importlib.metadata.packages_distributions()
    return {module: frozenset(map(canonicalize_name, names)) for module, names in owners.items()}


def _third_party(path: Path) -> set[str]:
    """Names at the top of everything that a file imports and that is neither slonik's nor Python's."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").split(".")[0])
    return found - sys.stdlib_module_names - {"slonik"}


def test_all_leaves_the_demo_and_what_clashes_out() -> None:
    unwanted = {"django", "gramps", "plone-app-locales", "jupyterlab-language-pack-ru-ru"}
    assert not _brings("all") & (unwanted | {"natasha", "pymorphy2", "dawg-python"})
    assert unwanted <= _brings("demo")
    assert all(_brings(extra) <= _brings("all") for extra in FOR_USERS if extra not in {"demo", *NOT_IN_DEV})


def test_no_two_distributions_own_one_module() -> None:
    installed = _brings("dev") | {"natasha"}
    for module, owners in _owners().items():
        spec = importlib.util.find_spec(module) if len(owners & installed) > 1 else None
        assert spec is None or spec.origin is None, f"{module} is of {sorted(owners)}"  # namespaces have no origin


def test_every_import_is_brought_by_the_base_or_by_the_extra_that_is_named() -> None:
    base = _brings("")
    for path in sorted((ROOT / "src").rglob("*.py")):
        for module in _third_party(path) - WITHOUT_EXTRA:
            if module not in EXTRA_OF_PACKAGE:
                assert _owners()[module] & base, f"{path} imports {module}: add it to EXTRA_OF_PACKAGE"


@pytest.mark.parametrize(("module", "extra"), EXTRA_OF_PACKAGE.items())
def test_the_extra_named_for_a_package_brings_it(module: str, extra: str) -> None:
    owners = frozenset({NOT_IN_DEV[module]}) if module in NOT_IN_DEV else _owners()[module]
    assert owners & _brings(extra)


def test_extras_named_in_sentences_bring_the_package_that_they_name() -> None:
    calls = [
        (path, node.args)
        for path in sorted((ROOT / "src").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "MissingExtra"
    ]
    for path, (_, extra, *package) in calls:
        if isinstance(extra, ast.Constant):
            assert extra.value in FOR_USERS, path
            for name in (argument.value for argument in package if isinstance(argument, ast.Constant)):
                owners = _owners().get(name, frozenset({canonicalize_name(name)}))
                assert owners & _brings(extra.value), f"{path}: {name}"
    assert len(calls) > 10


def test_every_dependency_has_a_lowest_version_and_a_bound_above() -> None:
    for requirement in _direct([*PROJECT["dependencies"], *(line for extra in FOR_USERS for line in EXTRAS[extra])]):
        operators = {bound.operator for bound in requirement.specifier}
        assert operators == {">=", "<"}, requirement


def _pins() -> dict[str, str]:
    """Canonical name -> the version that constraints.txt holds it at."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    names, versions = zip(*(line.split("==") for line in lines if not line.startswith("#")), strict=True)
    assert len(set(map(canonicalize_name, names))) == len(names)
    return dict(zip(map(canonicalize_name, names), versions, strict=True))


def test_constraints_pin_what_make_installs_and_nothing_else() -> None:
    pins = _pins()
    installed = {canonicalize_name(found.name): found.version for found in importlib.metadata.distributions()}
    if any(installed.get(name, version).split("+")[0] != version for name, version in pins.items()):
        pytest.skip("other versions than those of constraints.txt are installed, and they may need other packages")
    assert {name for name in _brings("dev") if not name.startswith(GPU)} | {"natasha"} == set(pins)


def test_pins_lie_in_the_ranges() -> None:
    for requirement in _direct([*PROJECT["dependencies"], *EXTRAS["dev"]]):
        assert _pins()[canonicalize_name(requirement.name)] in requirement.specifier


def test_lowest_versions_are_the_declared_ones_and_torch_is_the_pinned_one() -> None:
    lowest = runpy.run_path(str(ROOT / ".ci" / "lowest.py"))["lowest"]
    asked = [
        "a>=1.2,<3",
        "A>=1.10",
        "b[x]==2; sys_platform != 'win32'",
        "torch>=2.10,<3",
        "slonik[c]",
        "unbound",
        "d<9,>=4",
    ]
    assert lowest(asked, ["torch==2.13.0", "a==2.0"]) == ["a==1.10", "b==2", "d==4", "torch==2.13.0"]
    declared = [*PROJECT["dependencies"], *(line for lines in EXTRAS.values() for line in lines)]
    held = dict(line.split("==") for line in lowest(declared, ["torch==2.13.0"]))
    for requirement in map(Requirement, declared):
        if requirement.name not in ("slonik", "types-PyYAML"):
            assert held[requirement.name.lower()] in requirement.specifier


def test_models_that_ship_are_whole_and_make_installs_them() -> None:
    found = sorted((ROOT / "models").glob("*/pyproject.toml"))
    if not found:
        pytest.skip("models/ holds no distribution yet")
    for path in found:
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        ((name, package),) = project["entry-points"]["slonik.models"].items()
        content = read_content(folder := path.parent / "src" / package / "model")
        assert name == project["name"] == path.parent.name == content["name"]
        assert project["version"] == content["version"] and project["license"] == content["licence"]
        assert "dependencies" not in project  # its weights would fetch whatever has that name elsewhere
        check_files(folder, content["files"], f"the package {name}")
        licences = {f"{licence}.txt" for licence in content["licence"].split(" AND ")}
        assert {file.name for file in (path.parent / "licences").iterdir()} == licences
        assert sum(file.stat().st_size for file in path.parent.rglob("*") if file.is_file()) < 32_000_000
