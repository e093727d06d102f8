"""The probing page: tables first, maps without an empty row, frames where the layer is, pictures that fit."""

from __future__ import annotations

import struct

from slonik.core.records import Record
from slonik.inspection.page import heatmap
from slonik.inspection.probing.report import layer_maps, probing_page
from slonik.inspection.probing.tasks import SUITE


def _record(task: str, value: float | None, layer: int | None) -> Record:
    return Record(suite=SUITE, task=task, variant="mean", model="m", metric="accuracy", value=value, layer=layer, n=10)


def _whole(task: str, value: float, layer: int) -> Record:
    return _record(task, value, None).model_copy(update={"detail": {"layer": layer}})


def test_tables_stand_first_and_no_row_is_empty() -> None:
    records = [_record("gapping", 0.5 + layer / 10, layer) for layer in (2, 4)]
    records += [_whole("gapping", 0.9, 4), _record("tense", None, 2), _whole("tense", 0.7, 2)]
    (plot,) = layer_maps(records).values()
    svg = plot.svg
    assert ">gapping<" in svg and ">tense<" not in svg
    page = probing_page(records)
    assert page.index("Probing, mean") < page.index("Layers: m, mean") < page.index("<svg")


def test_pictures_are_at_most_1200_pixels_wide() -> None:
    for columns in (3, 64):
        plot = heatmap([[0.5] * columns] * 6, rows=["row"] * 6, columns=["c"] * columns, alt="grid")
        width, _ = struct.unpack(">II", plot.png[16:24])
        assert 400 < width <= 1200
