"""Tag the texts of folders of Parquet and JSON Lines: spans in a column `spans` of the same rows."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from slonik.core.identity import checkpoint_identity, code_identity
from slonik.core.run import Announce
from slonik.data.annotations.document import Document, Tagger
from slonik.data.annotations.formats import as_row
from slonik.data.part_files import Columns, Kind
from slonik.models.kinds import resolve
from slonik.scaling.parts import PartsResult, process_parts, text_of
from slonik.tagging.models import load_tagger
from slonik.tagging.normal_forms import normal_form
from slonik.tagging.tag import Item, checked_confidence, sure, tag_items


class TagRows:
    """A column of texts to spans; an empty text has none."""

    kinds: Mapping[str, Kind] = {"spans": "spans"}

    def __init__(
        self, open_tagger: Callable[[], Tagger], column: str, least: float = 0.0, normal_forms: bool = False
    ) -> None:
        self._tagger, self._column, self._least = open_tagger(), column, least
        self._normal = normal_form if normal_forms else None
        if normal_forms:
            self.kinds = {"spans": "spans with normal forms"}

    def answer(self, rows: Sequence[Mapping[str, Any]], counts: Counter[str]) -> Columns:
        """See `slonik.scaling.parts.Work`."""
        texts = [text_of(row, self._column, number) or "" for number, row in enumerate(rows, start=1)]
        items = (Item(Document(str(number), text)) for number, text in enumerate(texts))
        kept = [sure(item.document, self._least) for item in tag_items(self._tagger, items)]
        found = [as_row(document, normal=self._normal)["spans"] for document, _ in kept]
        if self._least:
            counts["less sure spans left out"] += sum(gone for _, gone in kept)
        counts["empty texts"] += texts.count("")
        counts["spans"] += sum(map(len, found))
        counts.update(f"spans of {span['label']}" for span in itertools.chain.from_iterable(found))
        return {"spans": found}


def tag_folder(
    model: str | Path,
    inputs: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    column: str = "text",
    device: str | None = None,
    trust_remote_code: bool = False,
    min_confidence: float | None = None,
    normal_forms: bool = False,
    engine: str = "local",
    workers: int | None = None,
    progress: bool = False,
    announce: Announce | None = None,
) -> PartsResult:
    """Find entities in folders of Parquet and JSON Lines: the same parts with a column `spans`, in the folder `out`.

    Parts that were made of the same rows by the same model are skipped.

    Args:
        model: folder of a tagger, or hub id.
        inputs: folders, or files.
        column: of the texts.
        device: of an encoder. trust_remote_code: run Python code that comes with it.
        min_confidence: leave out spans that the tagger is less sure of. normal_forms: spans have `normal`.
        engine: "local" (this process) or "ray" (one model per worker). workers: of Ray.
        progress: show it on standard error. announce: called with a line for the user, instead.

    Raises:
        SlonikError: no such model or parts, `out` made by another model; parts that failed, when all others are done.
        MissingExtra: pyarrow, ray or the packages of that kind of tagger are not installed.
    """
    least = checked_confidence(min_confidence)
    if normal_forms:
        normal_form("а")  # a package that is missing is said before any text is tagged
    identity: dict[str, Any] = {
        "model": checkpoint_identity(resolve(model)), "column": column, "code": code_identity(__name__),
    }  # fmt: skip
    identity |= {"min_confidence": least} if least else {}
    identity |= {"normal_forms": True} if normal_forms else {}
    opener = partial(load_tagger, str(model), device=device, trust_remote_code=trust_remote_code)
    given = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    return process_parts(
        partial(TagRows, opener, column, least, normal_forms), given, out, command="tag", identity=identity,
        engine=engine, workers=workers, progress=progress, announce=announce,
    )  # fmt: skip
