"""The list of names of neural taggers: counts by hand, a training text without its own names, files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slonik.core.errors import SlonikError
from slonik.data.annotations.tags import tokenize
from slonik.models.task_model import TaskModel, save_task_model
from slonik.runtime.tagging.names import NAMES_FILE, Gazetteer, NameList
from slonik.tagging.models import load_tagger
from tests.tagging.models.toys import LABELS, bilstm, document, documents, encoder

DOCUMENTS = [
    document("{VIRUS:Gozi} и {ORG:Gozi Soft} из города {LOC:Тула}", "a"),
    document("Пишут о {VIRUS:Gozi}, но {ORG:Gozi} молчит", "b"),  # the first label of a name is the document's
    document("Кто такой gozi?", "c"),
]
NAMES = NameList.of(LABELS, DOCUMENTS)
OUT, B_ORG, I_ORG, B_VIRUS, B_LOC = (LABELS.names.index(tag) for tag in ("O", "B-ORG", "I-ORG", "B-VIRUS", "B-LOC"))


def _evidence(text: str, marked: int | None = None) -> np.ndarray:
    own = None if marked is None else DOCUMENTS[marked].spans
    return np.expm1(NAMES.evidence(text, tokenize(text), own)).round(3)


def test_documents_are_counted_by_label_and_unmarked_ones_too() -> None:
    found = _evidence("Вирус GOZI")
    assert not found[0].any()
    assert found[1, B_VIRUS] == 2 and found[1, OUT] == 1 and found[1].sum() == 3


def test_the_longest_name_wins_and_its_words_are_inside() -> None:
    found = _evidence("Gozi Soft, Gozi")
    assert found[0, B_ORG] == 1 and found[1, I_ORG] == 1 and found[:2].sum() == 2
    assert found[3, B_VIRUS] == 2


def test_a_training_text_does_not_find_what_it_gave() -> None:
    text = DOCUMENTS[0].text
    found = _evidence(text, 0)
    assert found[0, B_VIRUS] == 1 and found[0, OUT] == 1  # the other documents'
    place = [text[start:end] for start, end in tokenize(text)].index("Тула")
    assert not found[place].any() and _evidence(text)[place, B_LOC] == 1
    assert found[2, B_VIRUS] == 1 and not found[3].any()  # "Gozi Soft" is its own: the shorter name is found instead
    unmarked = _evidence(DOCUMENTS[2].text, 2)
    assert unmarked[2, OUT] == 0 and unmarked[2, B_VIRUS] == 2


def test_counts_are_never_below_zero() -> None:
    inside = [document("{ORG:Gozi Soft} тут", "a"), document("{VIRUS:Gozi} там", "b")]
    names = NameList.of(LABELS, inside)
    for one in inside:  # without its own long name the first text finds the short one, to which it gave nothing
        found = names.evidence(one.text, tokenize(one.text), one.spans)
        assert np.isfinite(found).all() and (found >= 0).all()
    assert names.evidence(inside[0].text, tokenize(inside[0].text), inside[0].spans)[0, B_VIRUS] > 0


def test_a_name_that_no_other_text_marks_is_none() -> None:
    only = NameList.of(LABELS, [DOCUMENTS[0], DOCUMENTS[2]])
    text = DOCUMENTS[0].text
    assert not only.evidence(text, tokenize(text), DOCUMENTS[0].spans).any()


def test_the_file_gives_the_same_list_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / NAMES_FILE).write_bytes(NAMES.dump())
    again = NameList.open(tmp_path, LABELS)
    assert again.content_hash() == NAMES.content_hash() and again.dump() == NAMES.dump()
    (tmp_path / NAMES_FILE).write_bytes(NAMES.dump()[:-9])
    with pytest.raises(SlonikError, match="missing or damaged"):
        NameList.open(tmp_path, LABELS)
    (tmp_path / NAMES_FILE).write_bytes(NAMES.dump())
    with pytest.raises(SlonikError, match="counts the label 'ORG'"):
        NameList.open(tmp_path, type(LABELS)(("LOC", "VIRUS")))


def test_an_encoder_tagger_keeps_its_list(tmp_path: Path) -> None:
    names = NameList.of(LABELS, documents())
    tagger = encoder(tmp_path / "base", names=names)
    assert isinstance(tagger.model, TaskModel)
    folder = save_task_model(tagger.model, tmp_path / "tagger", beside={NAMES_FILE: names.dump()})
    loaded = load_tagger(folder)
    texts = [one.text for one in documents()]
    assert loaded.tag(texts) == tagger.tag(texts)
    (folder / NAMES_FILE).unlink()
    with pytest.raises(SlonikError, match=NAMES_FILE):
        load_tagger(folder)


@pytest.mark.parametrize("kind", ["encoder", "bilstm"])
def test_the_list_reaches_the_scores(tmp_path: Path, kind: str) -> None:
    names = NameList.of(LABELS, documents())
    tagger = encoder(tmp_path / "base", names=names) if kind == "encoder" else bilstm(names=names)
    text = "Хакер Тихий Ворон"
    (before,) = [scores.values for scores in tagger.marginals([text])]
    tagger.features.names = NameList(LABELS, Gazetteer({}))
    (after,) = [scores.values for scores in tagger.marginals([text])]
    assert np.abs(before - after)[1:].max() > 1e-4
