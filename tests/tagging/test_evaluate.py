"""Taggers measured in one call: loaded or by path, on documents, rows and files; what they have seen is left out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import slonik
from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.data.annotations.document import Document, Span
from slonik.evaluation.suite import Evaluation
from slonik.tagging.data import write_training_texts
from slonik.tagging.evaluate import ner, unseen
from slonik.tagging.models.bilstm import save_bilstm
from tests.tagging.models.toys import LABELS, bilstm, documents


class Oracle:
    """Knows the answers, but for the first `wrong` spans of a text."""

    def __init__(self, name: str, wrong: int = 0) -> None:
        self.name, self.wrong = name, wrong
        self.labels = LABELS.classes
        self._answers = {one.text: list(one.spans) for one in documents()}

    def tag(self, texts: Sequence[str]) -> list[list[Span]]:
        return [self._answers[text][self.wrong :] for text in texts]

    def describe(self) -> dict[str, Any]:
        return {"kind": "oracle", "parameters": 0}


def test_loaded_taggers_on_documents_give_records_tables_and_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = ner([Oracle("all"), Oracle("some", 1)], documents(), task="toy", html=tmp_path / "page.html")
    assert isinstance(found, Evaluation) and found.report == tmp_path / "page.html" and found.report.is_file()
    values = {(record.model, record.metric): record.value for record in found.records}
    assert values["all", "f1_micro"] == 1.0 and values["some", "precision_micro"] == 1.0
    assert (values["some - all", "difference"] or 0) < 0
    assert [table.title for table in found.tables][:2] == ["Named entities: toy", "F1 per label"]
    assert any("fewer than 30 gold spans" in note for note in found.notes) and not found.warnings
    assert capsys.readouterr() == ("", "")


def test_folders_are_measured_under_their_names_and_their_passports_grow(tmp_path: Path) -> None:
    folder = save_bilstm(bilstm(), tmp_path / "mine", Passport(name="mine"))
    found = slonik.evaluate(folder, "ner", data=documents(), mapping={"drop": ["PER"]}, passport=True)
    assert {record.model for record in found.records} == {str(folder)}
    assert Passport.read(folder).records == found.records
    labels = next(record for record in found.records if record.metric == "f1_micro").detail["per_label"]
    assert "ORG" in labels and "gold" in labels["ORG"] and labels.get("PER", {"gold": 0})["gold"] == 0
    assert not Passport.read(save_bilstm(bilstm(), tmp_path / "other", Passport(name="other"))).records


def test_texts_that_a_tagger_has_seen_are_left_out_or_said(tmp_path: Path) -> None:
    write_training_texts(tmp_path, [one.text for one in documents()[:3]])
    fresh, notes = unseen(documents(), tmp_path)
    assert list(fresh) == documents()[3:] and "3 texts that it was trained on are left out" in notes[0]
    everything, notes = unseen(documents(), tmp_path, seen=True)
    assert list(everything) == documents() and "trained on 3 of these 8 texts" in notes[0]
    assert unseen(documents(), None) == (documents(), ())


def test_mistakes_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match="there is no model to measure"):
        ner([], documents())
    with pytest.raises(SlonikError, match="no annotated span"):
        ner(Oracle("a"), [Document("a", "текст")])
    with pytest.raises(SlonikError, match="did you mean 'seccoll'"):
        ner(Oracle("a"), tasks="secoll")
    with pytest.raises(SlonikError, match="slonik fetch seccoll"):
        ner(Oracle("a"), data_dir=tmp_path)
    with pytest.raises(SlonikError, match="did you mean 'drop'"):
        ner(Oracle("a"), documents(), mapping={"dorp": ["PER"]})
