"""What teachers say: a blend that the student's own vectors meet, a prefix that only the teacher reads."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from slonik import models
from slonik.compression.blend import Blend, BlendPart
from slonik.compression.config import BlendConfig, CorpusConfig, DistillConfig
from slonik.compression.corpus import CorpusSample
from slonik.compression.distill import distill
from slonik.compression.plan import keep_layers, whole
from slonik.compression.surgery import apply
from slonik.compression.targets import Targets, Teaching, make_targets
from slonik.core.errors import SlonikError
from slonik.models.encoder import TorchEncoder
from slonik.models.opening import open_encoder
from slonik.models.vocabulary import matching_ids
from tests import tiny
from tests.compression import toy_corpus as corpus

TERMS = {"cosine": 1.0, "similarity_kl": 0.0, "pairs": 0.0, "hidden": 1.0}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("targets")
    teacher = models.load(tiny.checkpoint(folder / "plain", "bert", layers=3))
    teacher.sentence = replace(teacher.sentence, prefixes={"query": "мама: "}, default_prefix="query")
    models.save(teacher, folder / "teacher")
    cut = apply(teacher.model, keep_layers(whole(teacher.model), [0, 2]))
    models.save(TorchEncoder(cut, teacher.tokenizer, teacher.sentence), folder / "student")
    tiny.checkpoint(folder / "other", "xlm-roberta")
    corpus.write(folder)
    return folder


def _teaching(place: Path, **fields: object) -> Teaching:
    teacher, student = models.load(place / "teacher"), models.load(place / "student")
    lines = [line for line in (place / "ru.txt").read_text(encoding="utf-8").splitlines() if line][:60]
    sample = CorpusSample(lines, [], lines[:5], [])
    config = DistillConfig.model_validate({"precision": "fp32", "terms": TERMS, "teachers": ["hashing_300"], **fields})
    return Teaching(
        teacher, student, matching_ids(student, teacher), sample, CorpusConfig(without_prefix=0.0), config,
        others={"hashing_300": open_encoder("hashing_300")},
    )  # fmt: skip


def _texts(teaching: Teaching) -> list[str]:
    return teaching.sample.texts


def _columns(targets: Targets, name: str) -> np.ndarray:
    return targets.columns[name](np.arange(len(targets.ids))).numpy()


def test_the_target_is_the_blend_of_the_teachers(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLONIK_CACHE", str(place / "cache"))
    teaching = _teaching(place, blend={"weights": [1.0, 0.5], "scale": 3.0, "fit_texts": 50})
    targets = make_targets(teaching)
    assert targets.blend is not None and targets.dimensions == {"teacher": teaching.student.dimension}
    parts = [BlendPart(teaching.teacher), BlendPart(teaching.others["hashing_300"], 0.5)]
    wanted = Blend(parts, targets.blend).encode(_texts(teaching))
    np.testing.assert_allclose(_columns(targets, "teacher"), wanted, atol=0.02)
    np.testing.assert_allclose(np.linalg.norm(_columns(targets, "teacher"), axis=1), 3.0, atol=0.01)


def test_only_the_teacher_reads_a_folded_prefix(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLONIK_CACHE", str(place / "cache"))
    teaching = _teaching(place, fold_prefix=True)
    targets = make_targets(teaching)
    texts = _texts(teaching)
    bare = teaching.student.tokenize(texts, "", 48)
    assert [row.tolist() for row in targets.ids] == [list(row) for row in bare]
    # The states are those of the same tokens behind the prefix.
    row = torch.tensor(teaching.teacher.tokenize([texts[0]], "мама: ", 48))
    with torch.no_grad():
        prefixed = teaching.teacher.model(input_ids=row).last_hidden_state[0].numpy()
    states = targets.columns["teacher_hidden"](np.array([0]))[0].numpy()
    extra = row.shape[1] - len(bare[0])
    assert extra > 0
    np.testing.assert_allclose(states[1:], prefixed[1 + extra :], atol=0.01)
    np.testing.assert_allclose(_columns(targets, "teacher")[0], teaching.teacher.encode([texts[0]])[0], atol=0.01)


def test_an_output_map_begins_at_least_squares(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLONIK_CACHE", str(place / "cache"))
    teaching = _teaching(place, output_map=True, blend={"fit_texts": 50})
    targets = make_targets(teaching)
    assert targets.output_map is not None
    pooled = teaching.teacher.encode_poolings(_texts(teaching), ["mean"])["mean"]
    made = np.c_[pooled, np.ones(len(pooled))] @ targets.output_map
    wanted = _columns(targets, "teacher")
    assert np.square(made - wanted).mean() < np.square(wanted - wanted.mean(0)).mean() * 0.9


def test_a_blend_is_learnt_and_stays_in_the_folder(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLONIK_CACHE", str(place / "cache"))
    found = distill(
        place / "student", teacher=[place / "teacher", "hashing_300"], weights=[1.0, 0.7], fold_prefix=True,
        output_map=True, corpus=place / "ru.txt", out=place / "blended",
        set={"distill.max_steps": 12, "distill.batch_tokens": 512, "distill.evaluations": 2, "corpus.near_pairs": 0,
             "distill.precision": "fp32", "distill.blend.fit_texts": 100, "corpus.held_out_texts": 40,
             "corpus.held_out_share": 0.2},
    )  # fmt: skip
    lines = [json.loads(line) for line in (place / "blended" / "metrics.jsonl").read_text().splitlines()]
    before = next(line["evaluation"] for line in lines if "evaluation" in line)
    assert found.held_out["agreement"] > before["agreement"]
    # Its dimensions are the blend's: comparing them with the first teacher's one by one would say nothing.
    held = {record.metric: record for record in found.records if record.task == "held_out"}
    assert set(held) == {"neighbours"} and held["neighbours"].detail["teacher"] == str(place / "teacher")
    made = models.load(place / "blended")
    assert made.sentence.prefix(None) == "" and "Dense" in made.sentence.in_words()
    np.testing.assert_allclose(np.linalg.norm(made.encode(["мама мыла раму"]), axis=1), 1.0, atol=1e-5)


def test_a_student_with_other_tokens_learns_from_whole_texts(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLONIK_CACHE", str(place / "cache"))
    steps = {"distill.max_steps": 6, "distill.batch_tokens": 512, "distill.evaluations": 1, "corpus.near_pairs": 0}
    held = {"corpus.held_out_texts": 40, "corpus.held_out_share": 0.2}
    whole_texts = {"distill.terms.hidden": 0.0}
    with pytest.raises(SlonikError, match=r"distill\.terms\.hidden = 0"):
        distill(place / "other", teacher=place / "teacher", corpus=place / "ru.txt", out=place / "x", set=steps | held)
    found = distill(
        place / "other", teacher=place / "teacher", corpus=place / "ru.txt", out=place / "other-tokens",
        set=steps | held | whole_texts,
    )  # fmt: skip
    assert 0 < found.held_out["similarity"] <= 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"blend": {}}, "a blend needs two teachers"),
        ({"blend": {"weights": [1.0]}, "teachers": ["hashing_300"]}, "1 weights for 2 teachers"),
        ({"blend": {"weights": [1.0, 0.0]}, "teachers": ["hashing_300"]}, "a weight is 0.0"),
        ({"blend": {"weights": [1.0, -2.0]}, "teachers": ["hashing_300"]}, "a weight is -2.0"),
        ({"blend": {"scale": 0}, "teachers": ["hashing_300"]}, "greater than 0"),
    ],
)
def test_a_blend_that_is_none_is_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        DistillConfig.model_validate(fields)


def test_what_would_do_nothing_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLONIK_CACHE", str(place / "cache"))
    with pytest.raises(SlonikError, match="puts no prefix before texts"):
        distill(place / "plain", teacher=place / "plain", corpus=place / "ru.txt", out=place / "x", fold_prefix=True)
    with pytest.raises(SlonikError, match=r"without_prefix is 0\.2"):
        distill(
            place / "student", teacher=place / "teacher", corpus=place / "ru.txt", out=place / "x", fold_prefix=True,
            set={"corpus.without_prefix": 0.2},
        )  # fmt: skip
    assert BlendConfig().centre


def test_a_narrower_student_meets_a_blend_of_whole_teachers(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLONIK_CACHE", str(place / "cache"))
    teaching = _teaching(place, blend={"fit_texts": 50}, output_map=True)
    kept = list(range(0, teaching.teacher.hidden_size, 2))
    plan = whole(teaching.teacher.model).model_copy(update={"hidden": kept})
    narrow = apply(teaching.teacher.model, plan)
    student = TorchEncoder(narrow, teaching.teacher.tokenizer, teaching.student.sentence)
    targets = make_targets(replace(teaching, student=student, kept=kept))
    assert targets.blend is not None and targets.output_map is not None
    assert len(targets.blend.means[0]) == teaching.teacher.dimension
    assert targets.dimensions["teacher"] == len(kept) and targets.output_map.shape == (len(kept) + 1, len(kept))
    assert targets.columns["teacher_hidden"](np.array([0])).shape[-1] == len(kept)
