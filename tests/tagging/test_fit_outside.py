"""What a network is trained on beside its texts: other texts before, copies that no list is asked about, context."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slonik.core.errors import SlonikError
from slonik.data.annotations.document import Document, Span
from slonik.data.annotations.formats import write_spans_jsonl
from slonik.tagging import making
from slonik.tagging.config import System
from slonik.tagging.data import read_training_texts, text_key
from slonik.tagging.fit import Job, train_one
from slonik.tagging.making import new_tagger
from slonik.tagging.material import Material, training_examples
from slonik.tagging.models import load_tagger
from tests.tagging.models.toys import LABELS, documents, table
from tests.tiny.models import checkpoint

SIZES = {"hidden": 8, "character_features": 4, "learnt_words": 4}
QUICK = {"epochs": 8, "batch_tokens": 64, "learning_rate": 2e-2}


@pytest.fixture(autouse=True)
def _small_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "navec_table", table, raising=False)
    monkeypatch.setattr(making, "word_table", lambda *_: table(), raising=False)


def test_other_texts_before_change_the_weights_and_are_known_as_seen(tmp_path: Path) -> None:
    other = [Document(f"n{n}", f"Анна {n} живёт в Туле", (Span(0, 4, "PERSON"),)) for n in range(4)]
    write_spans_jsonl(other, tmp_path / "first.jsonl")
    first = {"data": str(tmp_path / "first.jsonl"), "mapping": {"merge": {"PERSON": "PER"}}, "epochs": 8}
    found = {}
    for name, given in (("plain", None), ("first", first)):
        system = System(name=name, kind="bilstm", sizes=SIZES, tuning=QUICK, first=given)
        job = Job(system=system, labels=LABELS, documents=documents(), stopping=0.2, overlap=8, seed=0)
        train_one(job, tmp_path / name, tmp_path / f"{name}-scratch", tmp_path / "cache")
        found[name] = load_tagger(tmp_path / name).describe()["weights_hash"]
    assert found["plain"] != found["first"]
    assert text_key(other[0].text) in read_training_texts(tmp_path / "first")
    assert text_key(other[0].text) not in read_training_texts(tmp_path / "plain")


def test_no_list_is_asked_about_copies(tmp_path: Path) -> None:
    system = System(name="s", kind="bilstm", sizes=SIZES)
    tagger = new_tagger(system, LABELS, documents(), overlap=8, seed=0)
    plain = training_examples(tagger, None, Material(documents(), [], [], None, tmp_path))
    more = training_examples(tagger, None, Material(documents(), [], [], None, tmp_path, copies=documents()))
    assert len(more) == 2 * len(plain)
    assert any(one["names"].any() for one in plain) and not any(one["names"].any() for one in more[len(plain) :])
    assert all(np.array_equal(one["tags"], other["tags"]) for one, other in zip(plain, more[len(plain) :], strict=True))


def test_lists_count_as_one_more_document() -> None:
    names = [{("ржавчина",): "VIRUS", ("голиаф",): "HACKER"}]
    system = System(name="s", kind="bilstm", sizes=SIZES)
    text = "Вирус Голиаф"
    for lists, wanted in (([], 0.0), (names, np.log1p(1))):
        tagger = new_tagger(system, LABELS, documents(), overlap=8, seed=0, lists=lists)
        assert tagger.features.names is not None
        evidence = tagger.features.names.evidence(text, tagger.features.split(text))
        assert evidence[1, 2 * LABELS.classes.index("HACKER") + 1] == pytest.approx(wanted)


def test_with_context_a_window_sees_more_than_it_labels_in_training_too(tmp_path: Path) -> None:
    model = str(checkpoint(tmp_path / "tiny", "bert"))
    material = Material(documents()[:2], [], [], None, tmp_path)
    seen = {}
    for context in (0, 5):
        system = System(name="s", model=model, context=context, tuning={"max_length": 24})
        tagger = new_tagger(system, LABELS, documents(), overlap=8, seed=0)
        examples = training_examples(tagger, None, material, around=context > 0)
        seen[context] = sum(int(one["attention_mask"].sum()) for one in examples)
        assert sum(len(one["tags"]) for one in examples) == sum(
            len(tagger.features.split(one.text)) for one in documents()[:2]
        )
        assert tagger.features.overlap == (2 * context or 8)  # type: ignore[attr-defined]
        assert tagger.balanced
    assert seen[5] > seen[0]
    with pytest.raises(SlonikError, match="at most 5"):
        new_tagger(system.model_copy(update={"context": 9}), LABELS, documents(), overlap=8, seed=0)
