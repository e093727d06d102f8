"""The ladder on eight sentences: every kind of tagger is trained, kept, scored; what is made anew and what is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slonik.core.config import build_config
from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.core.records import read_records
from slonik.core.run import Steps
from slonik.data.annotations.document import Span
from slonik.data.annotations.formats import read_spans_jsonl, write_spans_jsonl
from slonik.tagging import making
from slonik.tagging.config import LadderRecipe, TaggerRecipe
from slonik.tagging.data import document_folds, line_keys, read_collection, read_training_texts, text_key
from slonik.tagging.fit import Job
from slonik.tagging.ladder import Ladder, chosen_systems, run_ladder
from slonik.tagging.matching import exact_f1
from slonik.tagging.metrics import compare
from slonik.tagging.models import load_tagger
from slonik.tagging.study import TaggerStudy, ladder_table, run_study, score_ladder, study_taggers, write_study
from slonik.tagging.train import run_tagging
from tests.tagging.models.toys import LABELS, documents, table
from tests.tiny.models import checkpoint

SIZES = {"hidden": 16, "character_features": 8, "learnt_words": 8, "dropout": 0.0, "word_dropout": 0.0}
QUICK = {"epochs": 2, "batch_tokens": 64}


@pytest.fixture(autouse=True)
def _small_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "navec_table", table)


def ladder_of(config: LadderRecipe) -> Ladder:
    """The ladder of a recipe, its steps where a study has them."""
    collection = read_collection(config.data, config.format, config.mapping)
    return run_ladder(config, collection, Steps(Path(config.out) / "runs"))


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
            {"name": "BiLSTM-CRF, distilled", "kind": "bilstm", "crf": True, "sizes": SIZES, "tuning": QUICK,
             "lesson": lesson},
        ],
    }  # fmt: skip
    return build_config(LadderRecipe, values | changes)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[LadderRecipe, Ladder, Path]:
    folder = tmp_path_factory.mktemp("ladder")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "navec_table", table)
        config = recipe(folder)
        return config, ladder_of(config), folder


def test_every_system_is_trained_and_tested_on_other_documents(ran: tuple[LadderRecipe, Ladder, Path]) -> None:
    _, ladder, _ = ran
    assert ladder.systems == ["encoder", "BiLSTM", "BiLSTM-CRF, distilled"]
    for rung in ladder.rungs:
        tagger = load_tagger(rung.model)
        assert [list(document.spans) for document in rung.predicted] == tagger.tag([one.text for one in rung.gold])
        assert rung.summary["fit"] + rung.summary["stop"] == len(documents()) - len(rung.gold)
        assert rung.summary["bytes"] > 0 and rung.summary["milliseconds_per_text"] >= 0
        step = Passport.read(rung.model).lineage[-1]
        assert step.command == "finetune" and ("teacher" in step.inputs) == (rung.system == "BiLSTM-CRF, distilled")
    assert ladder.rungs[2].summary["unlabelled"] == 1


def test_a_second_call_trains_nothing(ran: tuple[LadderRecipe, Ladder, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    config, ladder, _ = ran

    def never(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("slonik.tagging.ladder.train_one", never)
    again = ladder_of(config)
    assert [rung.predicted for rung in again.rungs] == [rung.predicted for rung in ladder.rungs]


def test_scores_and_files(ran: tuple[LadderRecipe, Ladder, Path], tmp_path: Path) -> None:
    config, ladder, _ = ran
    scores = score_ladder(ladder, task="toy", folds=config.folds, seed=0)
    differences = compare(scores, every_pair=True)
    for rung, one in zip(ladder.rungs, scores, strict=True):
        micro = one.record("f1_micro")
        assert one.model == rung.system
        assert micro.value == pytest.approx(exact_f1(rung.gold, [one.spans for one in rung.predicted]))
        assert micro.variant == "fold 0 of 2"
    assert {one.model for one in differences} == {
        "BiLSTM - encoder", "BiLSTM-CRF, distilled - encoder", "BiLSTM-CRF, distilled - BiLSTM",
    }  # fmt: skip
    assert len(ladder_table(ladder, scores).rows) == len(ladder.rungs)
    taggers = write_study(ladder, scores, differences, tmp_path / "out")
    written = read_records(tmp_path / "out" / "records.json")
    assert len(written) == sum(len(one.records) for one in scores) + len(differences)
    assert (tmp_path / "out" / "table.md").read_text(encoding="utf-8").count("\n") == 2 + len(ladder.rungs)
    kept = sorted(path.name for path in (tmp_path / "out" / "predictions").iterdir())
    assert kept == ["BiLSTM-CRF--distilled-fold0.jsonl", "BiLSTM-fold0.jsonl", "encoder-fold0.jsonl"]
    assert len(list(read_spans_jsonl(tmp_path / "out" / "predictions" / kept[1]))) == len(ladder.rungs[0].gold)
    assert taggers["BiLSTM-fold0"] == tmp_path / "out" / "taggers" / "BiLSTM-fold0"
    assert load_tagger(taggers["BiLSTM-fold0"]).labels == LABELS.classes


def test_a_tagger_of_an_earlier_training_is_replaced(ran: tuple[LadderRecipe, Ladder, Path], tmp_path: Path) -> None:
    config, ladder, _ = ran
    scores = score_ladder(ladder, task="toy", folds=config.folds, seed=0)
    target = tmp_path / "taggers" / "BiLSTM-fold0"
    for step in ("as written before", "measured since"):
        write_study(ladder, scores, [], tmp_path)
        passport = Passport.read(target)
        assert passport.lineage == Passport.read(ladder.of("BiLSTM")[0].model).lineage
        assert (step == "measured since") == bool(passport.records)
        passport.with_records(scores[1].records).write(target)  # of this training: it stays
    passport.model_copy(update={"lineage": ()}).write(target)
    write_study(ladder, scores, [], tmp_path)
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
        ladder_of(recipe(tmp_path, systems=[{**system, "name": "pupil", "lesson": lesson}]))
    # what the teacher was trained on, the pupil was
    write_spans_jsonl(documents()[:3], tmp_path / "few.jsonl")
    few = {**settings, "data": str(tmp_path / "few.jsonl"), "out": str(tmp_path / "pupil")}
    run_tagging(build_config(TaggerRecipe, {**few, "system": {**system, "lesson": lesson}}))
    assert read_training_texts(tmp_path / "pupil") == read_training_texts(tmp_path / "mine")


def test_a_system_brings_its_teacher_along(tmp_path: Path) -> None:
    config = chosen_systems(recipe(tmp_path), ["BiLSTM-CRF, distilled"], ["other.txt"])
    assert [system.name for system in config.systems] == ["encoder", "BiLSTM-CRF, distilled"]
    assert config.systems[1].lesson is not None and config.systems[1].lesson.unlabelled == ("other.txt",)
    with pytest.raises(SlonikError, match="did you mean 'BiLSTM'"):
        chosen_systems(config.model_copy(update={"systems": recipe(tmp_path).systems}), ["BiLST"], [])


def test_mistakes_in_a_recipe_are_sentences(tmp_path: Path) -> None:
    systems = [system.model_dump() for system in recipe(tmp_path).systems]
    with pytest.raises(SlonikError, match="must come before"):
        ladder_of(recipe(tmp_path, systems=[systems[2], systems[0]]))
    with pytest.raises(SlonikError, match="neither a system of the recipe nor a folder"):
        ladder_of(recipe(tmp_path, systems=[systems[2]]))
    with pytest.raises(SlonikError, match="no fold 2"):
        recipe(tmp_path, run_folds=[2])
    with pytest.raises(SlonikError, match="same name"):
        recipe(tmp_path, systems=[systems[0], systems[0]])
    with pytest.raises(SlonikError, match="'a, b' and 'a- b' have the same name"):
        recipe(tmp_path, systems=[{**systems[1], "name": name} for name in ("a, b", "a- b")])
    with pytest.raises(SlonikError, match="hard labels only"):
        recipe(tmp_path, systems=[{"name": "x", "kind": "crf", "lesson": {"teacher": "y"}}])
    for empty in ({"run_folds": []}, {"systems": [{**systems[1], "folds": []}]}):
        with pytest.raises(SlonikError, match="a list of folds to run is empty"):
            recipe(tmp_path, **empty)
    with pytest.raises(SlonikError, match=r"systems\.1 is called '': give it a name"):
        recipe(tmp_path, systems=[systems[1], {**systems[1], "name": ""}])
    with pytest.raises(SlonikError, match="learning has a share twice"):
        recipe(tmp_path, learning=[0.5, 0.5])
    crf = {"name": "crf", "kind": "crf"}
    with pytest.raises(SlonikError, match="learns from 'crf', a CRF over hand features"):
        ladder_of(recipe(tmp_path, systems=[crf, {**systems[2], "lesson": {"teacher": "crf"}}]))
    (tmp_path / "names.txt").write_bytes("Тула и Омск\n".encode("cp1251"))
    for outside, sentence in (
        ({"gazetteers": {"ORG": str(tmp_path / "names.txt")}}, "not UTF-8.*cp1251"),
        ({"gazetteers": {"SHIP": [str(tmp_path / "names.txt")]}}, "no training text has this label"),
        ({"substitution": {"labels": ["SHIP"]}}, "names of 'SHIP' are to be replaced"),
    ):
        with pytest.raises(SlonikError, match=sentence):  # of the last system, before the first is trained
            ladder_of(recipe(tmp_path, systems=[crf, {**crf, "name": "more", **outside}]))
    assert not (tmp_path / "out" / "runs").exists()
    with pytest.raises(SlonikError, match="the gazetteer of ORG names no file"):
        recipe(tmp_path, systems=[{**crf, "gazetteers": {"ORG": []}}])
    absent = {**systems[0], "model": str(tmp_path / "absent"), "optional": True}
    with pytest.raises(SlonikError, match="no system is left to run: encoder is left out"):
        ladder_of(recipe(tmp_path, systems=[absent]))


def test_optional_systems_are_left_out_with_a_note(tmp_path: Path) -> None:
    systems = [system.model_dump() for system in recipe(tmp_path).systems]
    systems[0] |= {"model": str(tmp_path / "absent"), "optional": True}
    systems[2] |= {"optional": True}
    systems[1]["tuning"] = {**QUICK, "epochs": 0.5}
    ladder = ladder_of(recipe(tmp_path, systems=systems))
    assert ladder.systems == ["BiLSTM"]
    left_out = [note.split(" is ")[0] for note in ladder.notes if "left out" in note]
    assert left_out == ["encoder", "BiLSTM-CRF, distilled"]


def no_training(job: Job, folder: Path, scratch: Path, cache: Path) -> dict[str, Any]:
    """Stands for `train_one`: an untrained tagger is written."""
    tagger = making.new_tagger(job.system, job.labels, job.documents, overlap=job.overlap, seed=job.seed)
    making.save_tagger(tagger, folder, job.passport_step(0.0, {}), [one.text for one in job.documents])
    return {"fit": len(job.documents), "stop": 0}


def _changed_file(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_what_has_changed_is_made_anew_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slonik.tagging.ladder.train_one", no_training)

    def call(**changes: Any) -> dict[str, bool]:
        lines: list[str] = []
        config = recipe(tmp_path, **changes)
        run_study(config, lines.append, data=config.data, html=None)
        heads = {system.name: f"{system.name}, fold 0" for system in config.systems}
        return {name: f"{head}: done before" not in lines for name, head in heads.items()}

    fresh = dict.fromkeys(("encoder", "BiLSTM", "BiLSTM-CRF, distilled"), True)
    old = dict.fromkeys(fresh, False)
    systems = [system.model_dump() for system in recipe(tmp_path).systems]
    assert call() == fresh
    assert call() == old
    crf = [systems[0], {**systems[1], "crf": True}, systems[2]]
    assert call(systems=crf) == old | {"BiLSTM": True}
    assert call(stopping=0.2) == fresh and call(stopping=0.3) == old
    lesson = {**systems[2]["lesson"], "temperature": 2.0}
    assert call(systems=[*systems[:2], {**systems[2], "lesson": lesson}]) == old | {"BiLSTM-CRF, distilled": True}
    _changed_file(tmp_path / "tiny" / "config.json", '"gelu"', '"relu"')
    assert call() == old | {"encoder": True, "BiLSTM-CRF, distilled": True}
    assert call(overlap=8) == fresh and call(seed=1) == fresh


def test_unlabelled_texts_count_by_what_they_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slonik.tagging.ladder.train_one", no_training)
    (tmp_path / "texts.txt").write_text("один\n", encoding="utf-8")
    config = chosen_systems(recipe(tmp_path), [], [str(tmp_path / "texts.txt")])
    run_study(config, lambda line: None, data=config.data, html=None)
    (tmp_path / "texts.txt").write_text("два\n", encoding="utf-8")
    lines: list[str] = []
    run_study(config, lines.append, data=config.data, html=None)
    assert "BiLSTM, fold 0: done before" in lines
    assert "BiLSTM-CRF, distilled, fold 0 ... (made anew: unlabelled.texts.txt changed)" in lines


def test_other_data_or_folds_in_the_same_folder_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slonik.tagging.ladder.train_one", no_training)

    def call(data: Any = None, **changes: Any) -> TaggerStudy:
        config = recipe(tmp_path, **changes)
        return run_study(config, lambda line: None, data=config.data if data is None else data, html=None)

    found = call()
    assert found.out == tmp_path / "out" and set(found.taggers) >= {"encoder-fold0"} and found.records
    assert not (tmp_path / "out.steps").exists() and found.tables
    for changes, words in (
        ({"data": documents()[1:]}, "data.текст0"),
        ({"mapping": {"drop": ["LOC"]}}, "data.текст0"),
        ({"folds": 3}, r"folds \(2 -> 3\)"),
        ({"fold_seed": 1}, r"fold_seed \(0 -> 1\)"),
    ):
        with pytest.raises(SlonikError, match=f"was made from other inputs .*{words}"):
            call(**changes)
    assert call().records == found.records


def test_a_study_of_documents_in_memory(tmp_path: Path) -> None:
    quiet = {"name": "BiLSTM", "kind": "bilstm", "sizes": SIZES, "tuning": {**QUICK, "epochs": 0.5}}
    found = study_taggers({"systems": [quiet], "folds": 2, "stopping": 0.3}, documents(), out=tmp_path / "out")
    assert {record.task for record in found.records} == {"documents"} and list(found.taggers) == ["BiLSTM-fold0"]
    with pytest.raises(SlonikError, match="the field 'data' is missing"):
        study_taggers({"systems": [quiet]}, out=tmp_path / "x")


def test_seeds_shares_and_the_kept_fold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, tuple[str, ...]]] = []

    def remembering(job: Job, folder: Path, scratch: Path, cache: Path) -> dict[str, Any]:
        seen.append((job.seed, tuple(document.id for document in job.documents)))
        return no_training(job, folder, scratch, cache)

    monkeypatch.setattr("slonik.tagging.ladder.train_one", remembering)
    quiet = {"name": "BiLSTM", "kind": "bilstm", "sizes": SIZES, "tuning": QUICK, "folds": [0]}
    values = {
        "systems": [quiet], "folds": 4, "stopping": 0.3, "kept_fold": 3, "learning": [0.5], "seed": 5,
    }  # fmt: skip
    found = study_taggers(values, documents(), out=tmp_path / "out", seeds=2, run_folds=[0, 1])
    kept = {document.id for document in documents()} - {name for _, names in seen for name in names}
    assert len(seen) == 8 and {seed for seed, _ in seen} == {5, 6}  # two folds, seeds and shares; `folds` is overruled
    whole = {names for _, names in seen if len(names) == 4}
    assert len(kept) == 2 and len(whole) == 2  # nothing has seen the kept fold, nor the test fold
    half = [names for _, names in seen if len(names) == 2]
    assert len(half) == 4 and all(any(set(some) < set(all_) for all_ in whole) for some in half)
    micro = next(record for record in found.records if record.metric == "f1_micro")
    assert micro.variant == "fold 0, 1 of 4, 2 seeds" and micro.detail["seeds"] == 2
    assert [(one["share"], one["documents"]) for one in micro.detail["learning"]] == [(0.5, 2), (1.0, 4)]
    assert sorted(found.taggers) == [f"BiLSTM-fold{fold}{seed}" for fold in (0, 1) for seed in ("", "-seed6")]
    with pytest.raises(SlonikError, match="fold 3 is kept until the end"):
        study_taggers(values, documents(), out=tmp_path / "out", run_folds=[3])
    for times in ("for the first time", "for the first time"):  # the second call tests nothing new
        last = study_taggers(values, documents(), out=tmp_path / "out", seeds=2, learning=[0.5], kept_fold=True)
        assert any(f"fold 3, kept until the end, was looked at {times}" in note for note in last.notes)
    changed = {**values, "systems": [{**quiet, "crf": True}]}
    last = study_taggers(changed, documents(), out=tmp_path / "out", kept_fold=True)
    assert any("fold 3, kept until the end, was looked at 2 times" in note for note in last.notes)
    assert {record.variant for record in last.records} == {"fold 3 of 4"}
    with pytest.raises(SlonikError, match="it keeps none"):
        study_taggers({**values, "kept_fold": None}, documents(), out=tmp_path / "x", kept_fold=True)


def test_looks_at_a_fold_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slonik.tagging.ladder.train_one", no_training)
    for number in range(3):
        quiet = {"name": "BiLSTM", "kind": "bilstm", "sizes": {**SIZES, "hidden": 8 + number}, "tuning": QUICK}
        found = study_taggers({"systems": [quiet], "folds": 2, "stopping": 0.3}, documents(), out=tmp_path / "out")
        assert any("fold 0 was looked at 3 times" in note for note in found.notes) == (number == 2)


def test_unlabelled_texts_with_lines_of_test_texts_are_refused_or_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[Job] = []

    def remembering(job: Job, folder: Path, scratch: Path, cache: Path) -> dict[str, Any]:
        jobs.append(job)
        return no_training(job, folder, scratch, cache)

    monkeypatch.setattr("slonik.tagging.ladder.train_one", remembering)
    config = recipe(tmp_path)
    folds = document_folds(documents(), 2, 0)
    test_text = documents()[folds[0][0]].text
    (tmp_path / "more.txt").write_text(f"{test_text.upper()}!\nдругой текст, которого нигде нет\n", encoding="utf-8")
    with pytest.raises(
        SlonikError, match=r"1 unlabelled texts of 'BiLSTM-CRF, distilled' .* hold a line of a test text"
    ):
        ladder_of(config)
    lesson = {**config.systems[2].model_dump()["lesson"], "leave_out": True}
    systems = [*(one.model_dump() for one in config.systems[:2]), {**config.systems[2].model_dump(), "lesson": lesson}]
    ladder = ladder_of(recipe_again(config, systems=systems))
    assert any("1 unlabelled texts with lines of test texts left out" in note for note in ladder.notes)
    assert jobs[-1].held_back & line_keys([test_text])


def recipe_again(config: LadderRecipe, **changes: Any) -> LadderRecipe:
    return build_config(LadderRecipe, config.model_dump() | changes)


def test_copies_of_a_teacher_teach_what_they_have_not_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[Job] = []

    def remembering(job: Job, folder: Path, scratch: Path, cache: Path) -> dict[str, Any]:
        jobs.append(job)
        return no_training(job, folder, scratch, cache)

    monkeypatch.setattr("slonik.tagging.ladder.train_one", remembering)
    config = recipe(tmp_path)
    systems = [one.model_dump() for one in config.systems]
    systems[2]["lesson"]["crossfit"] = 2
    ladder_of(recipe_again(config, systems=systems))
    pupil = jobs[-1]
    assert len(jobs) == 5 and len(pupil.parts) == 2
    taught = [texts for _, texts in pupil.parts]
    assert taught[0] | taught[1] == {text_key(one.text) for one in pupil.documents} and not taught[0] & taught[1]
    for copy, texts in pupil.parts:
        assert not read_training_texts(copy) & texts  # it has not seen them
    systems[2]["lesson"]["teacher"] = str(tmp_path / "tiny")
    with pytest.raises(SlonikError, match="is no system of the recipe, so crossfit cannot train it again"):
        ladder_of(recipe_again(config, systems=systems, out=str(tmp_path / "other")))


def test_span_heads_alone_are_measured_on_nested_spans_and_beside_flat_taggers_on_flat_ones(tmp_path: Path) -> None:
    nested = []
    for one in documents():
        place = one.text.find("Иванова")
        more = (Span(place, place + 7, "PER"),) if place >= 0 else ()
        nested.append(replace(one, spans=tuple(sorted((*one.spans, *more)))))
    head = {
        "name": "spans", "kind": "encoder", "model": str(checkpoint(tmp_path / "tiny", "bert")), "nested": True,
        "tuning": {"epochs": 1, "max_length": 32},
    }  # fmt: skip
    flat = {"name": "CRF", "kind": "crf", "hand": {"iterations": 3, "clusters": 0, "calibrate": False}}
    told: list[str] = []
    values = {"data": "x", "out": str(tmp_path / "out"), "folds": 2, "stopping": 0.3, "systems": [flat, head]}
    alone = study_taggers(values, nested, systems=["spans"], announce=told.append)
    assert {record.metric for record in alone.records} >= {"f1_micro", "f1_inner", "f1_outer"}
    assert not any("span heads beside" in line for line in told)
    both = study_taggers({**values, "out": str(tmp_path / "both")}, nested, announce=told.append)
    assert any(line.startswith("spans: span heads beside flat taggers") for line in told)
    assert "f1_inner" not in {record.metric for record in both.records}
