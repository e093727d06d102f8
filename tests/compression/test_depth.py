"""Trying cuts with shared beginnings gives what cutting each model gives."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from slonik.compression.depth import agreement, search_layers
from slonik.compression.plan import keep_layers, whole
from slonik.compression.surgery import apply
from slonik.core.errors import SlonikError
from slonik.models.pooling import pool
from tests.compression.families import CUT, batch, tiny

MEAN = partial(pool, kind="mean")


@pytest.mark.parametrize("family", CUT)
def test_agreement_is_that_of_the_cut_model(family: str) -> None:
    model = tiny(family, layers=4)
    batches = [batch(4, seed=1), batch(3, length=7, seed=2)]
    found = search_layers(model, batches, MEAN, 2)
    assert len(found) == (3 if family == "deberta-conv" else 6)
    assert [cut.score for cut in found] == sorted((cut.score for cut in found), reverse=True)

    def vectors(kept: tuple[int, ...]) -> torch.Tensor:
        cut = apply(model, keep_layers(whole(model), kept))
        with torch.no_grad():
            return F.normalize(torch.cat([MEAN(cut(**one)[0], one["attention_mask"]) for one in batches]), dim=-1)

    teacher = vectors((0, 1, 2, 3))
    for cut in (found[0], found[-1]):
        assert (cut.cosine, cut.correlation) == pytest.approx(agreement(vectors(cut.layers), teacher), abs=1e-5)


def test_beam_finds_what_trying_all_finds_when_wide() -> None:
    model, batches = tiny("bert", layers=5), [batch(6)]
    everything = search_layers(model, batches, MEAN, 2)
    assert search_layers(model, batches, MEAN, 2, width=20) == everything
    narrow = search_layers(model, batches, MEAN, 2, width=1)
    assert len(narrow) == 3 and set(narrow) <= set(everything)


def test_fixed_layers_stay_and_whole_agrees_with_itself() -> None:
    model, batches = tiny("xlm-roberta", layers=4), [batch(5)]
    assert all(3 in cut.layers for cut in search_layers(model, batches, MEAN, 2, fixed=(3,)))
    (cut,) = search_layers(model, batches, MEAN, 4)
    assert cut.cosine == pytest.approx(1.0) and cut.correlation == pytest.approx(1.0)


def test_useless_layer_goes_first() -> None:
    model = tiny("modernbert", layers=3)
    layer = model.layers[1]
    with torch.no_grad():
        layer.attn.Wo.weight.zero_()
        layer.mlp.Wo.weight.zero_()
    assert search_layers(model, [batch()], MEAN, 2)[0].layers == (0, 2)


def test_bad_numbers_of_layers() -> None:
    with pytest.raises(SlonikError, match="keep 1 to 3"):
        search_layers(tiny("bert"), [batch()], MEAN, 0)
    with pytest.raises(SlonikError, match="no texts"):
        search_layers(tiny("bert"), [], MEAN, 2)
