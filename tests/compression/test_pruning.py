"""Many small steps reach the budget exactly, and their composed plan repeats them at once."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from slonik.compression import criteria
from slonik.compression.choose import Budget
from slonik.compression.criteria import Scores
from slonik.compression.pruning import shrink
from slonik.compression.shape import shape_of
from slonik.compression.surgery import apply
from slonik.core.errors import SlonikError
from slonik.models.pooling import pool
from slonik.train.objectives.closeness import probe_loss
from tests.compression.families import batch, tiny

MEAN = partial(pool, kind="mean")


def _fisher(model: PreTrainedModel) -> Scores:
    return criteria.fisher(model, [batch(4)], probe_loss(MEAN, probes=1))


@pytest.mark.parametrize(
    "fields",
    [
        {"layers": 2, "heads": 0.5, "ffn": 0.5, "hidden": 0.5, "multiple": 8},
        {"keep_layers": (0, 2), "heads": 0.75, "uneven": True, "multiple": 4},
        {"target_flops": 0.4, "multiple": 4},
        {"target_parameters": 25_000, "uneven": True, "multiple": 4},
    ],
)
@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_steps_reach_the_budget(family: str, fields: dict[str, Any]) -> None:
    model = tiny(family)
    made = shrink(model, Budget(**fields), _fisher, steps=4)
    assert list(made.parameters) == sorted(made.parameters, reverse=True)
    again = apply(model, made.plan)
    for name, value in made.model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    sizes = shape_of(made.model).sizes
    if "target_flops" in fields:
        assert shape_of(made.model).flops() <= 0.4 * shape_of(model).flops()
    elif "target_parameters" in fields:
        assert made.parameters[-1] <= 25_000
    else:
        assert len(sizes.layers) == 2
        assert sum(sizes.heads) == (4 if fields["heads"] == 0.5 else 6)
        assert set(made.plan.layers) == {0, 2} or "keep_layers" not in fields


def test_scores_are_taken_anew_and_recovery_is_called() -> None:
    seen: list[int] = []
    trained: list[int] = []

    def score(model: PreTrainedModel) -> Scores:
        seen.append(sum(shape_of(model).sizes.heads))
        return criteria.magnitude(model)

    def recover(model: PreTrainedModel, step: int) -> PreTrainedModel:
        trained.append(step)
        return model

    shrink(tiny("bert"), Budget(heads=0.25), score, steps=3, recover=recover)
    assert seen == [12, 9, 6] and trained == [1, 2]


def test_unmeetable_budget_fails_before_any_scoring() -> None:
    def score(model: PreTrainedModel) -> Scores:
        raise AssertionError("scored")

    with pytest.raises(SlonikError, match="nearest"):
        shrink(tiny("bert"), Budget(target_parameters=10), score)
