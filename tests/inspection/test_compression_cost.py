"""What compression cost is read off both models: nothing where they are one, layers by the plan where it is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slonik.compression.plan import Plan
from slonik.compression.surgery import apply
from slonik.inspection.compression_cost import compression_cost
from slonik.models.loading import load, save
from tests import tiny

TEXTS = [f"{text} {tiny.TEXTS[(3 * at + 7) % 40]}" for at, text in enumerate(tiny.TEXTS[:40])]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.checkpoint(tmp_path_factory.mktemp("teacher"), "bert", layers=3)


def test_a_model_beside_itself_has_lost_nothing(teacher: Path, tmp_path: Path) -> None:
    rows = "\n".join(f"{('tr', 'va', 'te')[n % 3]}\t{n // 3 % 2}\t{tiny.TEXTS[n % 40]} {n}" for n in range(90))
    (tmp_path / "gapping.txt").write_text(rows, encoding="utf-8")
    found = compression_cost(load(teacher), teacher, TEXTS, data_dir=tmp_path)
    by_metric = {r.metric: r for r in found.records if r.variant == "compression_cost"}
    assert by_metric["neighbours_kept"].value == 1.0
    assert by_metric["similarities_kept"].value == pytest.approx(1.0)
    assert [b.detail["floor_high"] < 0.6 for b in found.records if "floor" in b.detail] == [True] * 4
    assert any("none is lost for sure" in sentence for sentence in found.sentences)
    assert {"Layers", "Heads and neurons by layer", "Words", "Sentences that moved most"} <= {
        made.title for made in found.tables
    }
    assert "<svg" in found.page
    assert found.left_out == ()


def test_a_student_is_compared_with_the_layers_it_was_cut_from(teacher: Path, tmp_path: Path) -> None:
    encoder = load(teacher)
    whole = encoder.model
    heads, ffn = tuple(range(4)), tuple(range(int(whole.config.intermediate_size)))
    plan = Plan(family="bert", parent="", layers=(0, 2), heads=(heads[:2], heads), ffn=(ffn, ffn))
    encoder.model = apply(whole, plan)
    student = save(encoder, tmp_path / "student")
    (student / "plan.json").write_text(json.dumps({"layers": [0, 2]}), encoding="utf-8")
    found = compression_cost(student, teacher, [text + " и" * 60 for text in TEXTS], data_dir=tmp_path / "nowhere")
    (moved,) = (made for made in found.tables if made.title == "Sentences that moved most")
    assert all(row.cells[0].text.endswith("…") for row in moved.rows), "what is cut says so"
    heads_left = {(r.task, r.layer): r.value for r in found.records if r.metric == "heads"}
    assert heads_left == {("student", 1): 2, ("student", 2): 4, ("teacher", 1): 4, ("teacher", 2): 4, ("teacher", 3): 4}
    assert found.sentences[0].endswith("parameters.")
    assert "has 2 of 3 layers and 6 of 12 heads" in found.sentences[0]
    assert any("it was cut from" in sentence or "they were cut from" in sentence for sentence in found.sentences)
    assert found.left_out[0].startswith("properties (")
    assert set(found.records[0].hashes) == {"weights", "weights_against", "texts"}
