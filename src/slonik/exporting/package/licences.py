"""Under which licences a model may be given on: those of the models in its lineage, and their texts.

Only models that slonik itself knows are known here by holder; what a lineage names besides it names with a licence, or
the maker of the package does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError
from slonik.core.files import write_text
from slonik.core.passport import Passport
from slonik.models.names import EMBEDDED_PREFIX

_TEXTS = ("Apache-2.0", "MIT")


@dataclass(frozen=True)
class Origin:
    """A model whose weights, or whose vectors, a model was made from.

    Attributes:
        name: as its makers call it. licence: its SPDX id. holder: whom the copyright line names.
    """

    name: str
    licence: str
    holder: str


ORIGINS = {
    "embedded:multilingual-e5-small": Origin("intfloat/multilingual-e5-small", "MIT", "Microsoft Corporation"),
    "embedded:use-multilingual-3": Origin("universal-sentence-encoder-multilingual, 3", "Apache-2.0", "Google LLC"),
    "embedded:all-minilm-l6-v2": Origin(
        "sentence-transformers/all-MiniLM-L6-v2", "Apache-2.0", "the authors of sentence-transformers"
    ),
}
"""What slonik calls a model -> where it is from."""


def origins_of(passport: Passport, given: Mapping[str, str] | None = None) -> list[Origin]:
    """The models in a lineage, in the order in which they come.

    Args:
        given: name -> SPDX id of further ones, which the lineage does not tell.

    Raises:
        SlonikError: a licence whose text is not at hand, or none at all.
    """
    told = json.dumps([step.config for step in passport.lineage], ensure_ascii=False, default=str)
    known = {origin.name: origin for origin in ORIGINS.values()} | ORIGINS
    found: dict[str, Origin] = {}
    if passport.origin in known:
        found[known[passport.origin].name] = known[passport.origin]
    for name, origin in ORIGINS.items():
        if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", told):
            found[origin.name] = origin
    for name, licence in (given or {}).items():
        origin = (
            known.get(name) or known.get(f"{EMBEDDED_PREFIX}{name}") or Origin(name, licence, f"the authors of {name}")
        )
        found[origin.name] = replace(origin, licence=licence)
    for origin in found.values():
        if origin.licence not in _TEXTS:
            raise SlonikError(
                f"the licence of {origin.name} is {origin.licence!r}, whose text is not here: {', '.join(_TEXTS)} are"
            )
    covered = {origin.licence for origin in found.values()}
    for step in passport.lineage:
        for licence in re.split(r",\s*|\s+AND\s+", step.license or ""):
            if licence and licence not in covered:
                raise SlonikError(
                    f"the step {step.command} of {passport.name} brought something in under {licence}, of which no "
                    f"more is known: say what it was, --licence NAME=LICENCE ({', '.join(_TEXTS)})"
                )
    if not found:
        raise SlonikError(
            f"the lineage of {passport.name} names no model whose licence is known, and weights without one cannot be "
            "given on: say what it was made from, --licence NAME=Apache-2.0 (or MIT)"
        )
    return list(found.values())


def expression_of(origins: Iterable[Origin]) -> str:
    """The SPDX expression of what was made from all of them."""
    return " AND ".join(sorted({origin.licence for origin in origins}))


def write_licences(origins: Iterable[Origin], folder: Path) -> list[str]:
    """Write a file per licence into `folder`, with the models that it is for; returns their names."""
    of: dict[str, list[Origin]] = {}
    for origin in origins:
        of.setdefault(origin.licence, []).append(origin)
    for licence, models in sorted(of.items()):
        head = "".join(f"{one.name}\nCopyright (c) {one.holder}\n\n" for one in models)
        write_text(folder / f"{licence}.txt", head + text_of(licence))
    return [f"{licence}.txt" for licence in sorted(of)]


def text_of(licence: str) -> str:
    """The text of a licence by its SPDX id."""
    return (files(__package__) / "licences" / f"{licence}.txt").read_text(encoding="utf-8")


def given_licences(lines: Iterable[str]) -> dict[str, str]:
    """NAME=SPDX lines of the command line, taken apart.

    Raises:
        SlonikError: a line of another form.
    """
    found: dict[str, str] = {}
    for line in lines:
        name, _, licence = line.rpartition("=")
        if not name or licence not in _TEXTS:
            raise SlonikError(f"--licence is {line!r}: write NAME=LICENCE, with one of {', '.join(_TEXTS)}")
        found[name] = licence
    return found


def as_json(origins: Iterable[Origin]) -> list[dict[str, Any]]:
    """For the package's own metadata."""
    return [{"name": one.name, "licence": one.licence, "holder": one.holder} for one in origins]
