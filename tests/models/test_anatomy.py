"""The table finds every part of every family, and knows every parameter."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, T5EncoderModel

from slonik.core.errors import SlonikError
from slonik.models.anatomy import anatomy_of, dissect, linear_sizes, stream_norms
from slonik.models.kinds import family_of
from tests.tiny.models import FAMILIES, config, model


@pytest.mark.parametrize("family", FAMILIES)
def test_parts_have_the_sizes_of_the_config(family: str) -> None:
    body = dissect(model(family, layers=3, heads=4, ffn=48))
    assert body.anatomy.family == family
    assert (body.heads, body.ffn, body.hidden, body.head_size) == ((4,) * 3, (48,) * 3, 32, 8)
    assert body.vocab == 500 and body.words.weight.shape == (500, 32)
    for layer in body.layers:
        assert linear_sizes(layer.context) == (32, 32)
        assert linear_sizes(layer.outer) == (48, 32)
        assert linear_sizes(layer.inner[0])[0] == 32
        assert linear_sizes(layer.query)[1] == (96 if body.anatomy.query == body.anatomy.key else 32)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_has_axes_of_its_sizes(family: str) -> None:
    found = model(family, layers=2, heads=4, ffn=48)
    body = dissect(found)
    sizes = {"hidden": 32, "heads": 32, "qkv": 96, "ffn": 48, "glu": 96, "tokens": 500}
    assert set(body.axes) == {name for name, _ in found.named_parameters()}
    for name, parameter in found.named_parameters():
        for axis, size in zip(body.axes[name].axes, parameter.shape, strict=True):
            assert axis is None or sizes[axis] == size, name


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta", "deberta-v2", "modernbert"])
@pytest.mark.parametrize("auto", [AutoModelForMaskedLM, AutoModelForSequenceClassification])
def test_heads_behind_the_encoder_are_known(family: str, auto: Any) -> None:
    found = auto.from_config(config(family))
    body = dissect(found)
    outside = [axes for axes in body.axes.values() if not axes.base]
    assert outside and all(axes.layer is None for axes in outside)
    assert len(body.layers) == 2


def test_norms_of_the_stream() -> None:
    body = dissect(model("bert"))
    names = [name for name, _ in stream_norms(body)]
    assert len(names) == 1 + 2 * 2 and all(name.endswith("LayerNorm") for name in names)
    assert len(list(stream_norms(dissect(model("modernbert"))))) == 1 + 3 + 1


def test_context_is_where_a_head_ends() -> None:
    """Zeroing a head's columns there equals zeroing its values."""
    found = model("bert")
    body = dissect(found)
    ids = torch.arange(5, 15)[None]
    layer: Any = body.layers[0]
    with torch.no_grad():
        kept = layer.context.weight.clone()
        layer.context.weight[:, 8:16] = 0
        one = found(input_ids=ids)[0]
        layer.context.weight.copy_(kept)
        layer.value.weight[8:16], layer.value.bias[8:16] = 0, 0
        other = found(input_ids=ids)[0]
    assert torch.allclose(one, other, atol=1e-6)


def test_t5_encoder_alone_has_the_same_parts() -> None:
    body = dissect(T5EncoderModel(config("t5")))
    assert len(body.layers) == 2 and len(body.layers[0].inner) == 2 and body.cuttable


def test_unknown_family_and_parameter_are_named() -> None:
    class Odd:
        model_type = "nezha"

    class Fake:
        config = Odd()

    with pytest.raises(SlonikError, match="'nezha' is not known; known families: bert"):
        anatomy_of(Fake())  # type: ignore[arg-type]
    found: Any = model("bert")
    found.extra = nn.Linear(2, 2)
    with pytest.raises(SlonikError, match=r"extra\.weight"):
        dissect(found).axes  # noqa: B018


def test_uneven_types_belong_to_their_family() -> None:
    assert family_of("slonik_xlm_roberta") == "xlm-roberta"
    assert family_of("slonik_bert") == "bert" == family_of("bert")
