"""What decides a tagger's weights is in its key, and nothing else; what a kind does not read is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from slonik.tagging.config import System, TaggerRecipe
from slonik.tagging.models.bilstm import BiLstmConfig
from slonik.tagging.models.feature_crf import CrfConfig


def test_fields_that_a_kind_does_not_read_are_no_settings() -> None:
    crf = System(name="a", kind="crf")
    assert crf.settings() == System(name="b", kind="crf", folds=(1,)).settings()
    assert crf.settings() != System(name="a", kind="crf", hand=CrfConfig(l1=0.5)).settings()
    small = BiLstmConfig(hidden=8)
    bilstm = System(name="a", kind="bilstm")
    assert bilstm.settings() == System(name="b", kind="bilstm", folds=(1,)).settings()
    assert bilstm.settings() != System(name="a", kind="bilstm", sizes=small).settings()
    assert bilstm.settings() != System(name="a", kind="bilstm", names=False).settings()
    encoder = System(name="a", kind="encoder", model="m")
    assert encoder.settings() == System(name="b", kind="encoder", model="m").settings()
    assert encoder.settings() != System(name="a", kind="encoder", model="m", tuning={"masked_pieces": 0.1}).settings()
    assert encoder.settings() != System(name="a", kind="encoder", model="m", crf=True).settings()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "crf", "tuning": {"epochs": 3}}, "no use for tuning.epochs; its passes are hand.iterations"),
        ({"kind": "crf", "model": "m"}, "no use for model"),
        ({"kind": "crf", "crf": True}, "no use for crf"),
        ({"kind": "crf", "names": False}, r"no use for names \(say hand.names\)"),
        ({"kind": "crf", "sizes": {"hidden": 8}}, "no use for sizes"),
        ({"kind": "bilstm", "all_layers": False}, "no use for all_layers"),
        ({"kind": "bilstm", "hand": {"l1": 1}}, "no use for hand"),
        ({"kind": "bilstm", "model": "m"}, "no use for model"),
        ({"kind": "bilstm", "tuning": {"max_length": 9}}, "no use for tuning.max_length"),
        ({"model": "m", "hand": {"l1": 1}}, "no use for hand"),
        ({"model": "m", "sizes": {"hidden": 8}}, "no use for sizes"),
        ({"model": "m", "width": 3}, "no span head, which `width` is for"),
    ],
)
def test_fields_that_a_kind_does_not_read_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        System.model_validate({"name": "a", **fields})
    System.model_validate(System(name="a", kind="crf").model_dump())  # defaults that are spelt out ask for nothing


def test_recipes_refuse_what_their_tagger_does_not_read() -> None:
    crf = {"name": "a", "kind": "crf"}
    for fields, message in (({"overlap": 8}, "overlap is of encoders"), ({"partial": True}, "whole annotations only")):
        with pytest.raises(ValidationError, match=message):
            TaggerRecipe.model_validate({"data": "d", "out": "o", "system": crf, **fields})
    both = {"name": "a", "kind": "ensemble", "members": ["x", "y"]}
    with pytest.raises(ValidationError, match="partial does nothing for it"):
        TaggerRecipe.model_validate({"data": "d", "out": "o", "system": both, "partial": True})
    with pytest.raises(ValidationError, match="has the member 'x' twice"):
        System.model_validate({**both, "members": ["x", "y", "x"]})
