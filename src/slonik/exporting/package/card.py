"""The card of a distribution that lies in a folder, written again whenever more is known of it.

What the maker says of it (`about.md`) and what was measured (`src/NAME/model/passport.json`) stay with the
distribution, so that the card can be made from its folder alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError
from slonik.core.files import write_text
from slonik.core.passport import Passport
from slonik.core.records import Record
from slonik.models.distributions import FILE_NAME, FOLDER
from slonik.models.names import DEFAULTS
from slonik.reporting.package_card import package_card
from slonik.text.lines import read_json
from slonik.text.pipeline_files import is_static
from slonik.text.sentence_config import SentenceConfig

ABOUT = "about.md"


@dataclass(frozen=True)
class Made:
    """A distribution in a folder.

    Attributes:
        root: its folder.
        folder: the model's, inside.
        content: what its distribution.json says.
    """

    root: Path
    folder: Path
    content: dict[str, Any]

    @property
    def name(self) -> str:
        """Of the distribution and of the model."""
        return str(self.content["name"])


def read_made(root: str | Path) -> Made:
    """The distribution in a folder.

    Raises:
        SlonikError: there is none.
    """
    found = sorted(Path(root).glob(f"src/*/{FOLDER}/{FILE_NAME}"))
    if len(found) != 1:
        raise SlonikError(f"{root} holds no distribution of a model: make one, slonik package MODEL --out {root}")
    return Made(Path(root), found[0].parent, read_json(found[0]))


def write_card(
    root: str | Path, records: Iterable[Record] = (), *, about: str | None = None
) -> tuple[Path, tuple[Record, ...]]:
    """Add records to the passport of a distribution, and write its card.

    Args:
        records: they replace those of the same key.
        about: Markdown of the maker; None = as it was.

    Returns:
        The card's file, and all records that it was written from.

    Raises:
        SlonikError: `root` is no distribution, or cannot be written to.
    """
    made = read_made(root)
    passport = Passport.read(made.folder).with_records(records)
    passport.write(made.folder)
    path = made.root / ABOUT
    if about:
        write_text(path, about.strip() + "\n")
    said = path.read_text(encoding="utf-8") if path.is_file() else ""
    content = made.content
    package_card(
        made.name, content["version"], passport, content.get("facts", {}),
        None if is_static(made.folder) else SentenceConfig.read(made.folder), licence=content["licence"],
        origins=content.get("origins", ()), ships=made.name in DEFAULTS[:1], about=said, folder=made.root,
    )  # fmt: skip
    return made.root / "README.md", passport.records
