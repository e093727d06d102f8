"""Models that are Python distributions of their own: found by an entry point, checked, and opened where they lie.

A distribution has an entry point of the group `slonik.models`: its name is the model's, its value a package with the
folder `model`, in which `distribution.json` says what must be there. Two kinds: an encoder (int8 ONNX, whose numbers
are torch's too) and a static model. `slonik package` writes them. A process that only encodes imports this, so it loads
nothing that costs time: a large file is hashed once and remembered (`slonik.core.identity`).
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError
from slonik.core.version import __version__
from slonik.models.names import DEFAULTS, EMBEDDED_PREFIX
from slonik.text.lines import read_json

GROUP = "slonik.models"
FOLDER = "model"
FILE_NAME = "distribution.json"
FORMAT = 1
KINDS = ("encoder", "static")


@dataclass(frozen=True)
class Distribution:
    """An installed model.

    Attributes:
        name: without "embedded:".
        version: of the distribution.
        kind: "encoder" or "static".
        folder: with the model's files.
        facts: what the model's maker counted: parameters, layers, ...
        licence: an SPDX expression.
    """

    name: str
    version: str
    kind: str
    folder: Path
    facts: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""


def installed_names() -> list[str]:
    """Names of the models whose distributions are installed, in alphabetical order."""
    return sorted({point.name for point in importlib.metadata.entry_points(group=GROUP)})


def find(name: str) -> Distribution | None:
    """The installed distribution of the model `name`, its files held to what it says of them; None where there is none.

    Raises:
        SlonikError: it is cut, altered, of another format, or for a newer slonik.
    """
    points = importlib.metadata.entry_points(group=GROUP, name=name)
    return _opened(name, next(iter(points)).value) if points else None


def default_name() -> str:
    """The model that ships: the first of `DEFAULTS` that is installed, with "embedded:" before it.

    Raises:
        SlonikError: none is.
    """
    there = installed_names()
    chosen = next((name for name in DEFAULTS if name in there), None)
    if chosen is None:
        raise SlonikError(
            f"no model is named, and none that ships is installed: {install_line(DEFAULTS[0])}; or name one: a folder, "
            "a hub id, embedded:NAME"
        )
    return EMBEDDED_PREFIX + chosen


def install_line(name: str) -> str:
    """What to type to get the model `name`, which comes as a distribution."""
    return f"pip install {name} (in a checkout of slonik: pip install ./models/{name})"


def read_content(folder: Path) -> dict[str, Any]:
    """What the distribution.json in a model's folder says; empty where there is none.

    Raises:
        SlonikError: it is damaged.
    """
    content: dict[str, Any] = read_json(folder / FILE_NAME, optional=True)
    return content


def check_files(folder: Path, said: Mapping[str, Any], what: str) -> None:
    """Hold the files in `folder` to their lengths and hashes.

    Args:
        said: path within the folder -> {"bytes", "sha256"}.
        what: whose files they are, for the sentence.

    Raises:
        SlonikError: one is missing, cut or altered.
    """
    from slonik.core.identity import file_identity

    for name, facts in said.items():
        path = folder / name
        if not path.is_file():
            raise SlonikError(f"{what} lacks its file {name}: {_again(what)}")
        if (size := path.stat().st_size) != (length := facts["bytes"]):
            how = "cut" if size < length else "altered"
            raise SlonikError(f"{path} has {size:,} bytes instead of {length:,}, it was {how}: {_again(what)}")
        if file_identity(path) != facts["sha256"]:
            raise SlonikError(f"{path} is not the file that {what} was made with, it was altered: {_again(what)}")


def _opened(name: str, package: str) -> Distribution:
    folder = _folder_of(package, name)
    try:
        content = read_content(folder)
    except SlonikError:
        content = {}  # said below, with the line that mends it
    what = f"the installed package {content.get('name', name)} {content.get('version', '')}".rstrip()
    try:
        why = f"needs slonik {content['slonik']} or newer" if _numbers(content["slonik"]) > _numbers() else ""
        if content["format"] > FORMAT or content["kind"] not in KINDS:
            why = f"is of the format {content['format']} and the kind {content['kind']!r}"
        if why:
            raise SlonikError(f"{what} {why}, and this is {__version__}: install a newer slonik, or an older {name}")
        if not content["files"]:
            raise KeyError("files")
        check_files(folder, content["files"], what)
        return Distribution(
            name, content["version"], content["kind"], folder, content.get("facts", {}), content.get("licence", "")
        )
    except (KeyError, TypeError, AttributeError):
        raise SlonikError(f"{folder / FILE_NAME} of {what} is missing or damaged: {_again(what)}") from None


def _folder_of(package: str, name: str) -> Path:
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise SlonikError(
            f"the model {name} says that it is in the package {package}, which is not there: {install_line(name)}"
        )
    return Path(spec.submodule_search_locations[0]) / FOLDER


def _again(what: str) -> str:
    name = what.split()[3]
    return f"install it again, pip install --force-reinstall --no-deps {name} (in a checkout of slonik ./models/{name})"


def _numbers(version: str = __version__) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)[:3]]
