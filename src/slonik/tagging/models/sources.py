"""What says something of the words of a text from outside it: lists of names, other taggers. Features of a CRF.

The lists lie beside the CRF's own names, the advisers in folders of their own (`adviser-0`), so that the CRF works
without the folders that it was made of; slovnet's tagger is named only.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from slonik.core.errors import SlonikError
from slonik.core.files import write_bytes
from slonik.data.annotations.document import Tagger
from slonik.data.annotations.tags import OUTSIDE, encode
from slonik.models.kinds import resolve
from slonik.runtime.tagging.names import Gazetteer, Key
from slonik.tagging.models.hand_features import Words
from slonik.tagging.models.slovnet_tagger import SLOVNET, SlovnetTagger
from slonik.text import TAGGER_FILE
from slonik.text.lines import read_json

LISTS_FILE = "lists.json.gz"
Load: TypeAlias = Callable[[Path], Tagger]
_CAN_ADVISE = ("crf", "bilstm")


class Sources:
    """Lists of names, and other taggers.

    Args:
        lists: names from outside; None where there are none. advisers: other taggers.
    """

    def __init__(self, lists: Gazetteer | None, advisers: Sequence[Tagger]) -> None:
        self.lists = lists
        self.advisers = advisers

    @classmethod
    def of(cls, lists: Sequence[Mapping[Key, str]], advisers: Sequence[str], folder: Path, *, load: Load) -> Sources:
        """Those of a CRF that is being made in `folder`, into which the lists are written.

        Args:
            advisers: as `copy_advisers` names them. load: opens the folder of one.
        """
        gazetteer = Gazetteer.of(lists) if lists else None
        if gazetteer is not None:
            write_bytes(folder / LISTS_FILE, gazetteer.dump())
        return cls(gazetteer, _opened(advisers, folder, load))

    @classmethod
    def open(cls, folder: Path, advisers: Sequence[str], *, lists: bool, load: Load) -> Sources:
        """Those of a CRF that was saved.

        Raises:
            SlonikError: a list is damaged, or an adviser is missing.
        """
        return cls(Gazetteer.open(folder, LISTS_FILE) if lists else None, _opened(advisers, folder, load))

    def say(self, words: Words, *, lists: bool = True) -> list[list[str]]:
        """Per source a tag for each word, "" for nothing.

        Args:
            lists: ask the lists too; False leaves their place empty.
        """
        said = []
        if self.lists is not None:
            said.append(self.lists.features(words.lower) if lists else [""] * len(words.lower))
        for adviser in self.advisers:
            tags = encode(adviser.tag([words.text])[0], words.offsets).tags
            said.append(["" if tag == OUTSIDE else tag for tag in tags])
        return said


def copy_advisers(advisers: Sequence[str], folder: Path) -> tuple[str, ...]:
    """Copies advisers that are folders into `folder`; the names under which they lie there.

    Raises:
        SlonikError: one is no folder of a CRF or a BiLSTM.
    """
    named = []
    for number, adviser in enumerate(advisers):
        if adviser == SLOVNET and not Path(adviser).is_dir():
            named.append(adviser)
            continue
        source = resolve(adviser)
        if read_json(source / TAGGER_FILE, optional=True).get("kind") not in _CAN_ADVISE:
            raise SlonikError(f"the adviser {adviser} is no folder of a CRF or a BiLSTM: give one, or {SLOVNET}")
        shutil.copytree(source, folder / f"adviser-{number}")
        named.append(f"adviser-{number}")
    return tuple(named)


def _opened(advisers: Sequence[str], folder: Path, load: Load) -> list[Tagger]:
    return [SlovnetTagger() if name == SLOVNET else load(folder / name) for name in advisers]
