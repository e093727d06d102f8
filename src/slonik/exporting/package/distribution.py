"""The files of a distribution around a model's folder: pyproject.toml, the package, licences, and what they must hold.

    NAME/pyproject.toml, README.md, licences/*.txt, src/NAME/__init__.py, src/NAME/model/distribution.json, ...

It requires nothing: who has slonik opens it, and the version that it needs is checked there, so that installing weights
never brings a package of that name from somewhere else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError
from slonik.core.files import write_json, write_text
from slonik.core.hashing import sha256_file
from slonik.core.version import __version__
from slonik.exporting.package.licences import Origin, as_json, expression_of, write_licences
from slonik.models.distributions import FILE_NAME, FOLDER, FORMAT, GROUP
from slonik.models.names import EMBEDDED_CHECKPOINTS

LICENCES = "licences"
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_VERSION = re.compile(r"\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?")
_NOT_HELD = ("passport.json", "README.md", FILE_NAME)
_PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "{version}"
description = "{description}"
readme = "README.md"
requires-python = ">=3.11"
license = "{licence}"
license-files = ["{licences}/*.txt"]
keywords = ["russian", "sentence-embeddings", "onnx", "slonik"]
classifiers = [
    "Intended Audience :: Developers",
    "Natural Language :: Russian",
    "Topic :: Text Processing :: Linguistic",
]

[project.entry-points."{group}"]
{name} = "{package}"

[tool.hatch.build.targets.wheel]
packages = ["src/{package}"]
"""
_PACKAGE = '''\
"""Weights of {name} {version}: slonik.load("embedded:{name}") opens them; there is no code here."""

__version__ = "{version}"
'''


def package_name(name: str) -> str:
    """The importable name of a distribution."""
    return name.replace("-", "_")


def model_folder(root: Path, name: str) -> Path:
    """Where in a distribution the model's own files lie."""
    return root / "src" / package_name(name) / FOLDER


def check_names(name: str, version: str) -> None:
    """Refuse what is no name or no version of a distribution.

    Raises:
        SlonikError: one is not; or the name is that of a model that other packages carry.
    """
    if not _NAME.fullmatch(name):
        raise SlonikError(f"--name is {name!r}: use small letters and digits, joined by -, for example slonik-mini-ru")
    if name in EMBEDDED_CHECKPOINTS:
        raise SlonikError(f"--name is {name!r}, the name of a model that another package carries: choose another")
    if not _VERSION.fullmatch(version):
        raise SlonikError(f"--version is {version!r}: use a version such as 0.1.0 (PEP 440)")


def write_distribution(
    root: Path, name: str, version: str, *, kind: str, origins: Sequence[Origin], facts: Mapping[str, Any]
) -> None:
    """Write everything around the model's folder, which is filled already.

    Raises:
        SlonikError: a file cannot be written.
    """
    package, licence = package_name(name), expression_of(origins)
    what = "sentence encoder" if kind == "encoder" else "static sentence encoder (token vectors)"
    fields = {"name": name, "version": version, "package": package, "licence": licence, "group": GROUP}
    description = f"Weights of a small Russian {what} for slonik"
    write_text(root / "pyproject.toml", _PYPROJECT.format(**fields, description=description, licences=LICENCES))
    write_text(root / "src" / package / "__init__.py", _PACKAGE.format(**fields))
    (root / LICENCES).mkdir(exist_ok=True)
    write_licences(origins, root / LICENCES)
    folder = model_folder(root, name)
    content = {
        "format": FORMAT, "name": name, "version": version, "kind": kind, "slonik": __version__, "licence": licence,
        "origins": as_json(origins), "facts": dict(facts), "files": files_of(folder),
    }  # fmt: skip
    write_json(folder / FILE_NAME, content)


def files_of(folder: Path) -> dict[str, dict[str, Any]]:
    """Path within a model's folder -> bytes and SHA-256 of what it computes with."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in _NOT_HELD]
    return {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
        for path in paths
    }
