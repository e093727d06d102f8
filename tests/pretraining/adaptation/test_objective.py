"""A student with every second layer learns from its own origin, also after its vocabulary was cut."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from slonik import models
from slonik.compression.trim import apply_trim, plan_by_rules
from slonik.core.config import build_config
from slonik.core.errors import SlonikError
from slonik.models.language_model import load_language_model
from slonik.pretraining.adaptation.adapt import Adaptation, run_adapt
from slonik.pretraining.adaptation.config import AdaptConfig
from slonik.text.tokenizers.rules import TrimRules
from tests import tiny


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus, a model without a head, and one with a head that knows the corpus."""
    folder = tmp_path_factory.mktemp("distilbert")
    draw = random.Random(0)
    lines = [f"{draw.choice(tiny.TEXTS)} {draw.choice(tiny.TEXTS)}" for _ in range(200)]
    (folder / "texts.txt").write_text("\n".join(lines), encoding="utf-8")
    tiny.checkpoint(folder / "stranger", "bert")
    tiny.checkpoint(folder / "headless", "xlm-roberta", layers=4)
    _adapt(folder, "headless", "teacher", train={"max_steps": 60})
    return folder


def _adapt(folder: Path, model: str, out: str, **fields: Any) -> Adaptation:
    training = {"max_steps": 20, "batch_tokens": 400, "learning_rate": 3e-3, "evaluations": 1, "precision": "fp32"}
    values: dict[str, Any] = {
        "model": str(folder / model), "out": str(folder / out), "max_length": 40, "measured_documents": 20,
        "corpus": {"files": [str(folder / "texts.txt")], "held_out_share": 0.3},
        "train": training | fields.pop("train", {}),
    }  # fmt: skip
    return run_adapt(build_config(AdaptConfig, values | fields))


def _bits(found: Adaptation) -> dict[str, float]:
    return {r.variant: float(r.value or 0) for r in found.records if r.metric == "bits_per_byte"}


def test_the_student_has_half_the_layers_and_comes_near_its_teacher(place: Path) -> None:
    found = _adapt(place, "teacher", "student", every=2, teacher=str(place / "teacher"))
    student, teacher = (load_language_model(place / name, "mlm") for name in ("student", "teacher"))
    assert student.model.config.num_hidden_layers == 2 and teacher.model.config.num_hidden_layers == 4
    bits = _bits(found)
    assert set(bits) == {"before", "start", "after", "teacher"}
    assert bits["before"] == bits["teacher"]  # the original, whose half the student is
    assert bits["after"] < bits["start"]
    assert "| domain | teacher |" in found.table


def test_a_student_with_a_part_of_the_vocabulary_learns(place: Path) -> None:
    whole = models.load(place / "teacher")
    models.save(
        apply_trim(whole, plan_by_rules(whole, TrimRules(mode="counts", min_count=1), tiny.TEXTS[:8])),
        place / "trimmed",
    )
    bits = _bits(_adapt(place, "trimmed", "small", teacher=str(place / "teacher")))
    assert bits["after"] < bits["before"]
    assert (
        models.load(place / "small").tokenizer.get_vocab_size()
        < models.load(place / "teacher").tokenizer.get_vocab_size()
    )


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"teacher": "headless"}, "no language-model head"),
        ({"teacher": "stranger"}, "not in the vocabulary of"),
        ({"teacher": "teacher", "objective": "clm"}, "masked-language models"),
        ({"teacher": "teacher", "vocabulary": {"new_words": 5}}, "new vocabulary"),
        ({"every": 1}, "every"),
    ],
)
def test_what_cannot_go_together_is_refused_before_any_work(place: Path, fields: dict[str, Any], words: str) -> None:
    if "teacher" in fields:
        fields = fields | {"teacher": str(place / fields["teacher"])}
    with pytest.raises(SlonikError, match=words):
        _adapt(place, "teacher", "bad", **fields)
    assert not (place / "bad").exists()
