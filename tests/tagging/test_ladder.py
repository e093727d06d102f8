"""The ladder on eight sentences: every kind of tagger is trained, kept, scored; a second call trains nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slonik.core.config import build_config
from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.core.records import read_records
from slonik.data.annotations.formats import read_spans_jsonl, write_spans_jsonl
from slonik.tagging import train as tagging_train
from slonik.tagging.config import LadderRecipe, Lesson, System, TaggerRecipe
from slonik.tagging.data import exact_f1, labelled_examples, read_collection
from slonik.tagging.ladder import Ladder, chosen_systems, run_ladder
from slonik.tagging.models import load_tagger
from slonik.tagging.models.bilstm import BiLstmConfig
from slonik.tagging.scores import score_ladder, write_ladder
from slonik.tagging.tagger import run_tagging
from slonik.tagging.teacher import word_probabilities
from slonik.tagging.train import Material, new_tagger, train_tagger, training_examples
from slonik.tagging.training_texts import read_training_texts, text_key
from tests.tagging.models.toys import LABELS, bilstm, documents, table
from tests.tiny.models import checkpoint

SIZES = {"hidden": 16, "character_features": 8, "learnt_words": 8, "dropout": 0.0, "word_dropout": 0.0}
QUICK = {"epochs": 2, "batch_tokens": 64}


@pytest.fixture(autouse=True)
def _small_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tagging_train, "navec_table", table)


def recipe(folder: Path, **changes: Any) -> LadderRecipe:
    data = folder / "data.jsonl"
    write_spans_jsonl(documents(), data)
    model = folder / "tiny"
    if not model.is_dir():
        checkpoint(model, "bert")
    more = folder / "more.txt"
    more.write_text("Хакер Тихий Ворон снова напал на банк «Северный».\n" * 2, encoding="utf-8")
    lesson = {"teacher": "encoder", "unlabelled": [str(more)], "shortest": 10}
    values: dict[str, Any] = {
        "data": str(data), "out": str(folder / "out"), "folds": 2, "stopping": 0.3, "run_folds": [0],
        "systems": [
            {"name": "encoder", "kind": "encoder", "model": str(model), "tuning": {**QUICK, "max_length": 32}},
            {"name": "BiLSTM", "kind": "bilstm", "sizes": SIZES, "tuning": QUICK},
            {"name": "BiLSTM-CRF, taught", "kind": "bilstm", "crf": True, "sizes": SIZES, "tuning": QUICK,
             "lesson": lesson},
        ],
    }  # fmt: skip
    return build_config(LadderRecipe, values | changes)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[LadderRecipe, Ladder, Path]:
    folder = tmp_path_factory.mktemp("ladder")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tagging_train, "navec_table", table)
        config = recipe(folder)
        return config, run_ladder(config), folder


def test_every_system_is_trained_and_tested_on_other_documents(ran: tuple[LadderRecipe, Ladder, Path]) -> None:
    _, ladder, _ = ran
    assert ladder.systems == ["encoder", "BiLSTM", "BiLSTM-CRF, taught"]
    for rung in ladder.rungs:
        tagger = load_tagger(rung.model)
        assert [list(document.spans) for document in rung.predicted] == tagger.tag([one.text for one in rung.gold])
        assert rung.summary["fit"] + rung.summary["stop"] == len(documents()) - len(rung.gold)
        assert rung.summary["bytes"] > 0 and rung.summary["milliseconds_per_text"] >= 0
        step = Passport.read(rung.model).lineage[-1]
        assert step.command == "finetune" and ("teacher" in step.inputs) == (rung.system == "BiLSTM-CRF, taught")
    assert ladder.rungs[2].summary["unlabelled"] == 1


def test_a_second_call_trains_nothing(ran: tuple[LadderRecipe, Ladder, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    config, ladder, _ = ran

    def never(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("slonik.tagging.ladder.train_one", never)
    again = run_ladder(config)
    assert [rung.predicted for rung in again.rungs] == [rung.predicted for rung in ladder.rungs]


def test_scores_and_files(ran: tuple[LadderRecipe, Ladder, Path], tmp_path: Path) -> None:
    config, ladder, _ = ran
    scores = score_ladder(ladder, task="toy", folds=config.folds, seed=0)
    for rung in ladder.rungs:
        (micro,) = [one for one in scores.records if one.model == rung.system and one.metric == "f1_micro"]
        assert micro.value == pytest.approx(exact_f1(rung.gold, [one.spans for one in rung.predicted]))
        assert micro.variant == "fold 0 of 2"
    assert {one.model for one in scores.differences} == {
        "BiLSTM - encoder", "BiLSTM-CRF, taught - encoder", "BiLSTM-CRF, taught - BiLSTM",
    }  # fmt: skip
    assert scores.table.count("\n") == 2 + len(ladder.rungs)
    write_ladder(ladder, scores, tmp_path / "out")
    assert len(read_records(tmp_path / "out" / "records.json")) == len(scores.records)
    kept = sorted(path.name for path in (tmp_path / "out" / "predictions").iterdir())
    assert kept == ["BiLSTM-CRF--taught-fold0.jsonl", "BiLSTM-fold0.jsonl", "encoder-fold0.jsonl"]
    assert len(list(read_spans_jsonl(tmp_path / "out" / "predictions" / kept[1]))) == len(ladder.rungs[0].gold)
    assert load_tagger(tmp_path / "out" / "taggers" / "BiLSTM-fold0").labels == LABELS.classes


def test_a_tagger_of_an_earlier_training_is_replaced(ran: tuple[LadderRecipe, Ladder, Path], tmp_path: Path) -> None:
    config, ladder, _ = ran
    scores = score_ladder(ladder, task="toy", folds=config.folds, seed=0)
    target = tmp_path / "taggers" / "BiLSTM-fold0"
    for step in ("as written before", "measured since"):
        write_ladder(ladder, scores, tmp_path)
        passport = Passport.read(target)
        assert passport.lineage == Passport.read(ladder.of("BiLSTM")[0].model).lineage
        assert (step == "measured since") == bool(passport.records)
        passport.with_records(scores.evaluations[1].records).write(target)  # of this training: it stays
    passport.model_copy(update={"lineage": ()}).write(target)
    write_ladder(ladder, scores, tmp_path)
    assert Passport.read(target).lineage and not Passport.read(target).records


def test_a_teacher_that_has_seen_the_test_texts_is_refused(tmp_path: Path) -> None:
    config = recipe(tmp_path)
    system = {"name": "mine", "kind": "bilstm", "sizes": SIZES, "tuning": {**QUICK, "epochs": 0.5}}
    settings: dict[str, Any] = {"data": config.data, "out": str(tmp_path / "mine"), "system": system, "stopping": 0.2}
    run_tagging(build_config(TaggerRecipe, settings))
    lesson = {"teacher": str(tmp_path / "mine")}
    with pytest.raises(
        SlonikError, match=r"'pupil' would learn from .*mine, which was trained on 4 of the 4 test texts"
    ):
        run_ladder(recipe(tmp_path, systems=[{**system, "name": "pupil", "lesson": lesson}]))
    # what the teacher has learnt from, the pupil has
    write_spans_jsonl(documents()[:3], tmp_path / "few.jsonl")
    few = {**settings, "data": str(tmp_path / "few.jsonl"), "out": str(tmp_path / "pupil")}
    run_tagging(build_config(TaggerRecipe, {**few, "system": {**system, "lesson": lesson}}))
    assert read_training_texts(tmp_path / "pupil") == read_training_texts(tmp_path / "mine")


def test_a_system_brings_its_teacher_along(tmp_path: Path) -> None:
    config = chosen_systems(recipe(tmp_path), ["BiLSTM-CRF, taught"], ["other.txt"])
    assert [system.name for system in config.systems] == ["encoder", "BiLSTM-CRF, taught"]
    assert config.systems[1].lesson is not None and config.systems[1].lesson.unlabelled == ("other.txt",)
    with pytest.raises(SlonikError, match="did you mean 'BiLSTM'"):
        chosen_systems(config.model_copy(update={"systems": recipe(tmp_path).systems}), ["BiLST"], [])


def test_mistakes_in_a_recipe_are_sentences(tmp_path: Path) -> None:
    systems = [system.model_dump() for system in recipe(tmp_path).systems]
    with pytest.raises(SlonikError, match="must come before"):
        run_ladder(recipe(tmp_path, systems=[systems[2], systems[0]]))
    with pytest.raises(SlonikError, match="neither a system of the recipe nor a folder"):
        run_ladder(recipe(tmp_path, systems=[systems[2]]))
    with pytest.raises(SlonikError, match="no fold 2"):
        recipe(tmp_path, run_folds=[2])
    with pytest.raises(SlonikError, match="same name"):
        recipe(tmp_path, systems=[systems[0], systems[0]])
    with pytest.raises(SlonikError, match="'a, b' and 'a- b' have the same name"):
        recipe(tmp_path, systems=[{**systems[1], "name": name} for name in ("a, b", "a- b")])
    with pytest.raises(SlonikError, match="hard labels only"):
        recipe(tmp_path, systems=[{"name": "x", "kind": "crf", "lesson": {"teacher": "y"}}])


def test_optional_systems_are_left_out_with_a_note(tmp_path: Path) -> None:
    systems = [system.model_dump() for system in recipe(tmp_path).systems]
    systems[0] |= {"model": str(tmp_path / "absent"), "optional": True}
    systems[2] |= {"optional": True}
    systems[1]["tuning"] = {**QUICK, "epochs": 0.5}
    ladder = run_ladder(recipe(tmp_path, systems=systems))
    assert ladder.systems == ["BiLSTM"]
    assert [note.split(" is ")[0] for note in ladder.notes if "left out" in note] == ["encoder", "BiLSTM-CRF, taught"]


@pytest.mark.parametrize("crf", [False, True])
def test_a_tagger_learns_the_texts_that_it_sees(tmp_path: Path, crf: bool) -> None:
    tuning = {"epochs": 40, "batch_tokens": 32, "evaluations": 1, "learning_rate": 1e-2}
    system = System(name="mine", kind="bilstm", crf=crf, sizes=BiLstmConfig(**SIZES), tuning=tuning)
    texts = [one.text for one in documents()]
    tagger = new_tagger(system, LABELS, documents(), overlap=8, seed=0)
    assert exact_f1(documents(), tagger.tag(texts)) < 0.3
    material = Material(documents(), documents(), [], None, tmp_path)
    train_tagger(tagger, system, material, tmp_path / "run", seed=0, identity={})
    assert exact_f1(documents(), tagger.tag(texts)) > 0.95


def test_where_f1_is_zero_the_trained_tagger_is_kept(tmp_path: Path) -> None:
    system = System(name="mine", kind="bilstm", sizes=BiLstmConfig(**SIZES), tuning={**QUICK, "epochs": 20})
    tagger = new_tagger(system, LABELS, documents(), overlap=8, seed=0)
    material = Material(documents()[:6], documents()[6:7], [], None, tmp_path)  # a text without names: F1 is always 0
    found = train_tagger(tagger, system, material, tmp_path / "run", seed=0, identity={})
    assert found.best is not None and found.best.step > 0 and found.best.metrics["f1"] == 0


def test_one_tagger_of_a_recipe_is_a_folder(tmp_path: Path) -> None:
    config = recipe(tmp_path)
    system = {"name": "mine", "kind": "bilstm", "sizes": SIZES, "tuning": QUICK}
    settings = {"data": config.data, "out": str(tmp_path / "mine"), "system": system, "stopping": 0.2}
    found = run_tagging(build_config(TaggerRecipe, settings))
    assert found.summary["fit"] == 6 and found.summary["stop"] == 2
    (micro,) = [record for record in found.records if record.metric == "f1_micro"]
    assert micro.value == pytest.approx(found.summary["f1_stop"]) and micro.n == 2 and micro.low is not None
    assert Passport.read(tmp_path / "mine").records == found.records
    assert load_tagger(tmp_path / "mine").labels == LABELS.classes
    assert read_training_texts(tmp_path / "mine") == {text_key(one.text) for one in documents()}
    with pytest.raises(SlonikError, match="is there already"):
        run_tagging(build_config(TaggerRecipe, settings))


def test_one_document_is_enough_for_a_crf_and_no_t5_becomes_a_tagger(tmp_path: Path) -> None:
    config = recipe(tmp_path)
    write_spans_jsonl(documents()[:1], tmp_path / "one.jsonl")
    settings: dict[str, Any] = {"data": str(tmp_path / "one.jsonl"), "out": str(tmp_path / "crf")}
    crf = run_tagging(build_config(TaggerRecipe, {**settings, "system": {"name": "crf", "kind": "crf"}}))
    assert crf.summary["fit"] == 1 and crf.records == ()
    system = {"name": "t5", "kind": "encoder", "model": str(checkpoint(tmp_path / "t5", "t5"))}
    with pytest.raises(SlonikError, match=r"encoder with a decoder \(T5\)"):
        run_tagging(build_config(TaggerRecipe, {"data": config.data, "out": str(tmp_path / "x"), "system": system}))


def test_an_encoder_can_be_the_student(tmp_path: Path) -> None:
    system = recipe(tmp_path).systems[0].model_copy(update={"lesson": Lesson(teacher="x", weight=1.0)})
    teacher, student = bilstm(window=8, overlap=2), new_tagger(system, LABELS, [], overlap=8, seed=0)
    texts = [one.text for one in documents()]
    material = Material(documents(), documents(), texts[:2], teacher, tmp_path / "cache")
    examples = training_examples(student, system.lesson, material)
    first = examples[0]
    said = word_probabilities(teacher, texts[:1], [student.features.split(texts[0])])[0]
    owned = len(first["positions"])
    assert np.allclose(first["teacher"], said[:owned], atol=1e-3) and first["teacher"].shape == (owned, len(LABELS))
    assert first["input_ids"].max() > 0 and (examples[-1]["tags"] == -100).all()
    silent = Lesson(teacher="x", weight=0.0)
    plain = training_examples(student, silent, Material(documents(), [], [], teacher, tmp_path / "never"))
    assert not (tmp_path / "never").exists() and plain[0]["teacher"][:, 0].all() and (plain[0]["tags"] >= 0).all()
    summary = train_tagger(student, system, material, tmp_path / "run", seed=0, identity={})
    assert summary.step > 0 and summary.best is not None


def test_a_window_that_begins_inside_an_entity_begins_one() -> None:
    tagger = bilstm(window=5, overlap=0)
    examples = labelled_examples(documents(), tagger.features, LABELS)
    firsts = [int(example["tags"][0]) for example in examples]
    assert any(tag % 2 == 1 for tag in firsts) and not any(tag > 0 and tag % 2 == 0 for tag in firsts)


def test_collections_are_mapped_flattened_and_counted(tmp_path: Path) -> None:
    config = recipe(tmp_path, mapping={"merge": {"VIRUS": "HACKER"}, "drop": ["LOC"]})
    collection = read_collection(config.data, config.format, config.mapping)
    assert collection.labels == ["HACKER", "ORG", "PER"]
    assert sum(collection.counts.values()) == 8
    with pytest.raises(SlonikError, match="no annotated span"):
        read_collection(config.data, None, config.mapping.model_copy(update={"merge": {}, "drop": LABELS.classes}))
