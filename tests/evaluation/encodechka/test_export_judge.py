"""encodechka as a judge of exported files: records of all files, and a refusal under the floor that leaves nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slonik import runtime
from slonik.core.errors import SlonikError
from slonik.evaluation.encodechka.comparison import export_judge
from slonik.exporting.files import FILES
from slonik.exporting.run import export
from tests.evaluation.encodechka.samples import write_data
from tests.exporting.exported import checkpoint, exported

pytest.importorskip("sklearn")


def test_every_file_is_scored_and_compared_with_fp32(tmp_path: Path) -> None:
    folder, _ = exported("bert")
    records = export_judge(write_data(tmp_path))(folder)
    means = {(r.model, r.variant): r.value for r in records if r.task == "mean_s5" and r.metric == "mean"}
    assert {model for model, _ in means} == {"fp32", "int8"}
    for record in (r for r in records if r.task == "mean_s5" and r.metric == "difference"):
        assert record.model == "int8 - fp32"
        expected = (means["int8", record.variant] or 0) - (means["fp32", record.variant] or 0)
        assert record.value == pytest.approx(expected)
        assert record.low <= record.value <= record.high  # type: ignore[operator]


def test_a_file_that_loses_more_than_the_floor_is_refused_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoiled(folder: Path, *, file: str, threads: int) -> runtime.OnnxEncoder:
        encoder = runtime.load(folder, file=file, threads=threads)
        if file == FILES["int8"]:
            noise = np.random.default_rng(0)
            monkeypatch.setattr(
                encoder, "encode_poolings",
                lambda texts, kinds, **_: {k: noise.normal(size=(len(texts), 32)).astype(np.float32) for k in kinds},
            )  # fmt: skip
        return encoder

    class Runtime:
        load = staticmethod(spoiled)

    monkeypatch.setattr("slonik.evaluation.encodechka.comparison.runtime", Runtime)
    judge = export_judge(write_data(tmp_path / "data"))
    with pytest.raises(SlonikError, match=r"int8 loses .* over the floor of 0\.005"):
        export(checkpoint("bert"), tmp_path / "out", measure_speed=False, judge=judge)
    assert not (tmp_path / "out").exists()


def test_missing_data_is_named(tmp_path: Path) -> None:
    folder, _ = exported("bert")
    with pytest.raises(SlonikError, match="mean_s5 needs all of sts, pi"):
        export_judge(write_data(tmp_path, leave_out=("stsb_dev.csv",)))(folder)
