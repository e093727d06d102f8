"""Scores equal their definition, do not depend on the batch, and find what is planted."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from slonik.compression import criteria
from slonik.compression.criteria import LossFunction
from slonik.compression.gates import Gates, gated, open_gates
from slonik.core.errors import SlonikError
from slonik.models.anatomy import dissect, stream_norms
from slonik.models.pooling import pool
from slonik.train.objectives.closeness import pair_closeness_loss, probe_loss, teacher_distance_loss
from tests.compression.families import CUT, batch, tiny

MEAN = partial(pool, kind="mean")


def _pairs(examples: int = 8, seed: int = 0) -> dict[str, Tensor]:
    left, right = batch(examples, seed=seed), batch(examples, length=12, seed=seed + 100)
    return left | {f"pair_{name}": value for name, value in right.items()}


def _split(whole: Mapping[str, Tensor], size: int) -> list[dict[str, Tensor]]:
    count = next(iter(whole.values())).shape[0]
    return [{name: value[at : at + size] for name, value in whole.items()} for at in range(0, count, size)]


def _by_definition(model: PreTrainedModel, examples: dict[str, Tensor], loss_fn: LossFunction) -> dict[str, Any]:
    """|sum over the structure's weights of w * dL/dw| of every example alone, averaged."""
    body = dissect(model)
    found: list[dict[str, list[np.ndarray]]] = []
    for example in _split(examples, 1):
        model.zero_grad()
        loss_fn(model, example).sum().backward()

        def contribution(parameter: Tensor) -> Tensor:
            return (parameter * parameter.grad).detach() if parameter.grad is not None else parameter.detach() * 0

        hidden = torch.zeros(body.hidden)
        for name, norm in stream_norms(body):
            if not name.endswith("encoder.LayerNorm"):
                hidden += sum(contribution(parameter) for parameter in norm.parameters())
        if hasattr(body.base, "embeddings_project"):
            project = body.base.embeddings_project
            hidden += contribution(project.weight).sum(1) + contribution(project.bias)
        found.append(
            {
                "heads": [
                    contribution(layer.context.weight).sum(0).view(layer.heads, layer.head_size).sum(1).abs().numpy()
                    for layer in body.layers
                ],
                "ffn": [contribution(layer.outer.weight).sum(0).abs().numpy() for layer in body.layers],
                "layers": [
                    np.array(
                        [
                            abs(sum(float(contribution(p).sum()) for part in parts for p in part.parameters()))
                            for parts in ((layer.context, layer.outer) for layer in body.layers)
                        ]
                    )
                ],
                "hidden": [hidden.abs().numpy()],
            }
        )
    model.zero_grad()
    return {
        kind: [np.mean([each[kind][index] for each in found], axis=0) for index in range(len(found[0][kind]))]
        for kind in found[0]
    }


@pytest.mark.parametrize("family", CUT)
def test_taylor_is_the_sum_over_weights(family: str) -> None:
    model, examples = tiny(family, layers=2), _pairs(4)
    loss_fn = pair_closeness_loss(MEAN)
    expected = _by_definition(model, examples, loss_fn)
    scores = criteria.taylor(model, [examples], loss_fn)
    assert scores.examples == 4
    assert scores.heads is not None and scores.ffn is not None
    assert scores.layers is not None and scores.hidden is not None
    for kind, found in (("heads", scores.heads), ("ffn", scores.ffn), ("layers", [scores.layers])):
        for one, other in zip(found, expected[kind], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(scores.hidden, expected["hidden"][0], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("criterion", ["taylor", "gate", "fisher"])
def test_scores_do_not_depend_on_the_batch_size(criterion: str) -> None:
    model, examples = tiny("xlm-roberta", layers=2), _pairs(8)
    score = criteria.CRITERIA[criterion]
    for loss_fn in (pair_closeness_loss(MEAN), probe_loss(MEAN, probes=2)):
        one = score(model, _split(examples, 1), loss_fn)
        eight = score(model, [examples], loss_fn)
        assert one.examples == eight.examples
        for kind in ("heads", "ffn"):
            for left, right in zip(getattr(one, kind), getattr(eight, kind), strict=True):
                np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-8)
        for kind in ("layers", "hidden"):
            np.testing.assert_allclose(getattr(one, kind), getattr(eight, kind), rtol=1e-4, atol=1e-8)


def test_opposite_examples_do_not_cancel() -> None:
    model, examples = tiny("bert"), batch(2)
    signs = torch.tensor([1.0, -1.0])
    same = {name: value[:1].repeat(2, 1) for name, value in examples.items()}

    def loss_fn(found: Any, inputs: Mapping[str, Tensor]) -> Tensor:
        return found(**inputs)[0][:, 0, 0] * signs

    scores = criteria.taylor(model, [same], loss_fn, ["heads"])
    assert scores.heads is not None
    assert min(values.max() for values in scores.heads) > 1e-4


@pytest.mark.parametrize("criterion", ["taylor", "gate", "fisher", "magnitude"])
def test_planted_dead_structures_score_lowest(criterion: str) -> None:
    model = tiny("bert")
    layer = dissect(model).layers[1]
    context, outer = layer.module.get_submodule("attention.output.dense"), layer.module.get_submodule("output.dense")
    with torch.no_grad():
        context.weight[:, 8:16] = 0
        outer.weight[:, 5] = 0
    scores = criteria.CRITERIA[criterion](model, [_pairs()], pair_closeness_loss(MEAN))
    assert scores.heads is not None and scores.ffn is not None
    assert scores.heads[1].argmin() == 1
    assert scores.heads[1][1] < 1e-6
    assert scores.ffn[1].argmin() == 5


def test_model_is_left_as_it_was() -> None:
    model = tiny("bert")
    model.train()
    next(model.parameters()).requires_grad_(False)
    inputs = batch()
    criteria.taylor(model, [inputs], probe_loss(MEAN))
    assert model.training
    assert [parameter.requires_grad for parameter in model.parameters()].count(False) == 1
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    model.eval()
    first = criteria.taylor(model, [inputs], probe_loss(MEAN))
    model.train()
    second = criteria.taylor(model, [inputs], probe_loss(MEAN))
    assert first.layers is not None and second.layers is not None
    np.testing.assert_array_equal(first.layers, second.layers)


def test_distance_to_itself_has_no_gradient_and_says_so() -> None:
    model, inputs = tiny("bert"), batch()
    with torch.no_grad():
        teacher = MEAN(model(**inputs)[0], inputs["attention_mask"])
    with pytest.raises(SlonikError, match="no gradient"):
        criteria.taylor(model, [inputs | {"teacher": teacher * 0}], teacher_distance_loss(MEAN))
    scores = criteria.taylor(model, [inputs | {"teacher": teacher}], teacher_distance_loss(MEAN), ["heads"])
    probe = criteria.fisher(model, [inputs], probe_loss(MEAN), ["heads"])
    assert scores.heads is not None and probe.heads is not None
    assert max(values.max() for values in scores.heads) < 1e-5
    assert min(values.max() for values in probe.heads) > 1e-4


def test_probe_fisher_is_the_squared_movement_of_the_vector() -> None:
    """Removing a head by a small step moves the unit vector by step^2 * score, on average over probes."""
    model, inputs = tiny("bert"), batch(2)
    scores = criteria.fisher(model, [inputs], probe_loss(MEAN, probes=80), ["heads"])
    assert scores.heads is not None
    body = dissect(model)
    gates = open_gates(body, ["heads"])
    assert gates.heads is not None

    def vectors(step: float) -> Tensor:
        heads = tuple(gate.clone() for gate in gates.heads or ())
        heads[0][2] -= step
        with torch.no_grad(), gated(model, Gates(heads=heads)):
            return torch.nn.functional.normalize(MEAN(model(**inputs)[0], inputs["attention_mask"]), dim=-1).double()

    moved = (vectors(0.02) - vectors(-0.02)).square().sum(-1).mean() / 0.04**2
    assert float(scores.heads[0][2]) == pytest.approx(float(moved), rel=0.35)


def _masked_loss(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """Mean cross-entropy over an example's masked tokens, by the model's own head."""
    logits, labels = model(batch["input_ids"], batch["attention_mask"])[0], batch["labels"]
    entropy = nn.functional.cross_entropy(logits.transpose(1, 2), labels, ignore_index=-100, reduction="none")
    return entropy.sum(-1) / (labels != -100).sum(-1).clamp_min(1)


def test_language_model_loss_scores_a_model_with_a_head() -> None:
    model, inputs = tiny("bert", head="mlm"), batch(4)
    labels = torch.full_like(inputs["input_ids"], -100)
    labels[:, 2] = inputs["input_ids"][:, 2]
    scores = criteria.taylor(model, [inputs | {"labels": labels}], _masked_loss)
    assert scores.heads is not None and len(scores.heads) == 3
    with torch.no_grad():
        reference = model(**inputs, labels=labels).loss
        ours = _masked_loss(model, inputs | {"labels": labels}).mean()
    assert float(ours) == pytest.approx(float(reference), rel=1e-5)


def test_random_is_repeatable_and_gate_scores_have_unit_length() -> None:
    model = tiny("bert")
    first, second = criteria.random(model, seed=3), criteria.random(model, seed=3)
    assert first.layers is not None and second.layers is not None
    np.testing.assert_array_equal(first.layers, second.layers)
    scores = criteria.gate(model, [_pairs()], pair_closeness_loss(MEAN), ["heads"])
    assert scores.heads is not None
    assert [float(np.linalg.norm(values)) for values in scores.heads] == pytest.approx([1.0] * 3)


def test_bad_input_is_named() -> None:
    model = tiny("bert")
    with pytest.raises(SlonikError, match="no examples"):
        criteria.taylor(model, [], probe_loss(MEAN))
    with pytest.raises(SlonikError, match="one per example"):
        criteria.taylor(model, [batch()], lambda found, inputs: found(**inputs)[0].mean())
    with pytest.raises(SlonikError, match="'neurons'"):
        criteria.taylor(model, [batch()], probe_loss(MEAN), ["neurons"])


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_looked_at_families_can_be_scored(family: str) -> None:
    from transformers import T5EncoderModel

    from tests.tiny.models import config
    from tests.tiny.models import model as tiny_model

    model: Any = tiny_model(family) if family == "gpt2" else T5EncoderModel(config(family)).eval()
    inputs = batch()
    scores = criteria.taylor(model, [inputs], probe_loss(MEAN), ["heads", "ffn", "layers"])
    assert scores.heads is not None and scores.ffn is not None
    assert [len(values) for values in scores.heads] == [4, 4]
    assert [len(values) for values in scores.ffn] == [64, 64]
