"""What decides a tagger's weights is in its key, and nothing else."""

from __future__ import annotations

from slonik.tagging.config import System
from slonik.tagging.models.bilstm import BiLstmConfig


def test_fields_that_a_kind_does_not_read_are_no_settings() -> None:
    crf = System(name="a", kind="crf")
    assert crf.settings() == System(name="b", kind="crf", tuning={"epochs": 1}, names=False).settings()
    small = BiLstmConfig(hidden=8)
    bilstm = System(name="a", kind="bilstm")
    assert bilstm.settings() == System(name="b", kind="bilstm", all_layers=False, folds=(1,)).settings()
    assert bilstm.settings() != System(name="a", kind="bilstm", sizes=small).settings()
    assert bilstm.settings() != System(name="a", kind="bilstm", names=False).settings()
    encoder = System(name="a", kind="encoder", model="m")
    assert encoder.settings() == System(name="a", kind="encoder", model="m", sizes=small).settings()
    assert encoder.settings() != System(name="a", kind="encoder", model="m", tuning={"masked_pieces": 0.1}).settings()
    assert encoder.settings() != System(name="a", kind="encoder", model="m", crf=True).settings()
