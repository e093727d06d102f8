"""Block times are measured, cached and used; nothing here asserts a speed."""

from __future__ import annotations

from pathlib import Path

import pytest

from slonik.compression import criteria
from slonik.compression.choose import Budget, choose
from slonik.compression.latency import LatencyTable, measure, time_text
from slonik.compression.shape import shape_of
from slonik.compression.surgery import apply
from tests.compression.families import CUT, tiny

TABLE = LatencyTable(
    machine="test",
    tokens=16,
    fixed=1.0,
    heads=(2, 4),
    head_times=(6.0, 8.0),
    neurons=(16, 48),
    neuron_times=(4.0, 8.0),
)


def test_table_interpolates_and_goes_on_below() -> None:
    assert TABLE.layer(4, 48) == pytest.approx(8.0)
    assert TABLE.layer(3, 48) == pytest.approx(7.0)
    assert TABLE.layer(1, 16) == pytest.approx(1.0)
    costs = TABLE.costs(shape_of(tiny("bert")))
    assert costs.whole() == pytest.approx(1.0 + 3 * 8.0)
    assert costs.total([0, 2], [4, 3], [48, 16]) == pytest.approx(1.0 + 8.0 + 3.0)


@pytest.mark.parametrize("uneven", [False, True])
def test_target_is_met_by_the_table(uneven: bool) -> None:
    model = tiny("bert")
    plan = choose(criteria.random(model), Budget(target_latency=0.5, uneven=uneven, multiple=8), latency=TABLE)
    costs = TABLE.costs(shape_of(model))
    spent = costs.total(plan.layers, [len(kept) for kept in plan.heads], [len(kept) for kept in plan.ffn])
    assert (0.4 if uneven else 0.3) * costs.whole() < spent <= 0.5 * costs.whole()


@pytest.mark.parametrize("family", CUT)
def test_every_family_can_be_measured(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLONIK_CACHE", str(tmp_path))
    monkeypatch.setattr("slonik.compression.latency._TOKENS", 20)  # fewer than the vocabulary, as in a real model
    model = tiny(family)
    table = measure(model, tokens=8)
    assert table.heads[-1] == 4 and table.neurons[-1] == max(shape_of(model).sizes.ffn)
    assert list(table.head_times) == sorted(table.head_times) and min(table.head_times) > 0
    assert measure(model, tokens=8) == table
    assert len(list((tmp_path / "latency").iterdir())) == 1
    assert time_text(apply(model, choose(criteria.magnitude(model), Budget(heads=0.5))), tokens=8, rounds=1) > 0


def test_times_of_another_config_are_not_taken_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLONIK_CACHE", str(tmp_path))
    tables = [TABLE, TABLE.model_copy(update={"fixed": 2.0}), TABLE.model_copy(update={"fixed": 3.0})]
    made = iter(tables)
    monkeypatch.setattr("slonik.compression.latency._measure", lambda *_: next(made))
    model = tiny("bert")
    assert measure(model) == measure(model) == tables[0]
    model.config.hidden_act = "relu"
    assert measure(model) == tables[1]
    assert measure(model.double()) == tables[2]
