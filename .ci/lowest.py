"""Constraints that hold every direct dependency of pyproject.toml at its lowest declared version, one a line.

    python .ci/lowest.py > lowest.txt

torch stays at the version of constraints.txt: its older releases bring gigabytes of CUDA libraries. Dependencies
of dependencies are not held: an installer takes the newest that fit, as it would for a user.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PINNED = ("torch",)
"""Held as in constraints.txt instead."""

_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?([^;]*)")


def lowest(requirements: list[str], pins: list[str]) -> list[str]:
    """`name==version` for each name, the highest of its lower bounds.

    Args:
        requirements: as pyproject.toml writes them; those of slonik itself and those without a bound are left out.
        pins: lines of constraints.txt.
    """
    found: dict[str, str] = {}
    for requirement in requirements:
        match = _REQUIREMENT.match(requirement)
        assert match is not None, requirement
        name, bounds = match[1].lower(), match[2]
        bound = re.search(r"[>=]=\s*([^,\s]+)", bounds)
        if name != "slonik" and bound and _key(bound[1]) > _key(found.get(name, "0")):
            found[name] = bound[1]
    pinned = {name: version for name, _, version in (line.partition("==") for line in pins)}
    return [f"{name}=={pinned[name] if name in PINNED else found[name]}" for name in sorted(found)]


def _key(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def _main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    requirements = [*project["dependencies"], *(requirement for extra in extras for requirement in extra)]
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    sys.stdout.write("\n".join(lowest(requirements, pins)) + "\n")


if __name__ == "__main__":
    _main()
