"""Heads of stock shape: what Transformers wrote answers as its pipelines do, what we write is read by them alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer, pipeline

import slonik
from slonik import models
from slonik.core.errors import SlonikError
from slonik.models.kinds import kind_of
from slonik.models.task_model import load_task_model, new_task_model, save_task_model
from slonik.tagging.models import load_tagger
from slonik.text.answer_spans import LONGEST_ANSWER
from slonik.text.task_config import TaskConfig
from tests import tiny
from tests.models.heads.foreign import AUTO, FAMILIES, edited, foreign

LABELS = ("да", "не знаю", "нет, никогда")
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
TEXTS = ["Мама мыла раму", "Привет", "Анна живёт в доме 8, а Пётр в Москве"]
PAIRS = [("Мама мыла раму", "Кто мыл?"), ("Привет", "Анна живёт в доме 8")]
SENT = [{"text": first, "text_pair": second} for first, second in PAIRS]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("foreign")


def classified(folder: Path) -> tuple[list[list[dict[str, Any]]], list[list[dict[str, Any]]]]:
    """What the pipeline says of the texts and of the pairs: every label with its score."""
    classifier = pipeline("text-classification", model=str(folder), top_k=None)
    return classifier(TEXTS), classifier(SENT)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_classifier_of_transformers_answers_as_its_pipeline_alone_and_in_a_batch(root: Path, family: str) -> None:
    folder = foreign(root / f"{family}-sequence", family, "sequence", labels=LABELS)
    model = load_task_model(folder)
    assert (kind_of(folder).name, model.target, model.labels) == ("head", "single", LABELS)
    for rows, wanted in zip((TEXTS, PAIRS), classified(folder), strict=True):
        for answer, scores in zip(model.predict(rows), wanted, strict=True):
            assert answer.label == scores[0]["label"]
            for one in scores:
                assert answer.probabilities[one["label"]] == pytest.approx(one["score"], abs=2e-5)
    alone = np.concatenate([model.logits([text]) for text in TEXTS])
    np.testing.assert_allclose(model.logits(TEXTS), alone, atol=2e-5)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["sequence", "tokens", "answer", "choice"])
def test_what_was_read_is_written_as_the_same_class_without_a_tensor_too_many(
    root: Path, tmp_path: Path, family: str, kind: str
) -> None:
    labels = {"sequence": LABELS, "tokens": TAGS}.get(kind, ())
    folder = foreign(root / f"{family}-{kind}", family, kind, labels=labels)
    model = load_task_model(folder)
    out = save_task_model(model, tmp_path / "out")
    made, info = AUTO[kind].from_pretrained(out, output_loading_info=True)
    assert not any(info.values())
    before = AUTO[kind].from_pretrained(folder)
    assert type(made) is type(before)
    if labels:
        assert tuple(made.config.id2label[n] for n in range(len(labels))) == labels
    state = before.state_dict()
    assert {name: tuple(t.shape) for name, t in made.state_dict().items()} == {
        n: tuple(t.shape) for n, t in state.items()
    }
    assert all(torch.equal(tensor, state[name]) for name, tensor in made.state_dict().items())
    again = load_task_model(out)
    assert again.config == model.config and again.weights_hash() == model.weights_hash()


@pytest.mark.parametrize("family", tiny.ENCODERS)
def test_a_head_that_is_made_here_is_the_familys_own(tmp_path: Path, family: str) -> None:
    encoder = models.load(tiny.checkpoint(tmp_path / family, family))
    config = TaskConfig(kind="sequence", labels=LABELS, shape="stock", columns={"text": ["text"], "label": "label"})
    model = new_task_model(encoder, config, seed=1).eval()
    out = save_task_model(model, tmp_path / "out")
    for answer, scores in zip(model.predict(TEXTS), classified(out)[0], strict=True):
        assert {one["label"]: one["score"] for one in scores} == pytest.approx(dict(answer.probabilities), abs=2e-5)
    assert load_task_model(out).predict(TEXTS) == model.predict(TEXTS)
    hidden = model.hidden(batch := _batch(model, TEXTS))
    with torch.no_grad():  # states that were computed before give the same
        torch.testing.assert_close(model({**batch, "hidden": hidden}), model(batch))
    same = new_task_model(models.load(tmp_path / family), config, seed=1)
    assert same.weights_hash() == model.weights_hash()


def _batch(model: Any, texts: list[str]) -> dict[str, torch.Tensor]:
    from slonik.text.batching import pad_fields
    from slonik.text.pairs import TaskInput

    fields = [model.pairs.fields(TaskInput(((text,),))) for text in texts]
    return {name: torch.from_numpy(array) for name, array in pad_fields(fields, {"input_ids": model.pad_id}).items()}


def test_the_encoder_of_a_folder_with_a_head_is_still_one_and_that_is_said(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = models.load(tiny.checkpoint(tmp_path / "bert", "bert"))
    vectors = encoder.encode(TEXTS)
    config = TaskConfig(kind="sequence", labels=LABELS, shape="stock")
    out = save_task_model(new_task_model(encoder, config), tmp_path / "out")
    capsys.readouterr()
    np.testing.assert_array_equal(models.load(out).encode(TEXTS), vectors)
    assert "has a head (BertForSequenceClassification), which is left out" in capsys.readouterr().err
    assert AutoModel.from_pretrained(out).config.model_type == "bert"


@pytest.mark.parametrize(
    ("labels", "fields"),
    [
        (LABELS, {"problem_type": "multi_label_classification"}),
        (("балл",), {}),
        (("балл",), {"problem_type": "regression"}),
        (tuple(f"класс {n}" for n in range(12)), {}),
    ],
)
def test_problems_are_what_the_pipeline_takes_them_for(tmp_path: Path, labels: Any, fields: dict[str, Any]) -> None:
    folder = foreign(tmp_path / "model", "bert", "sequence", labels=labels, **fields)
    model, (texts, _) = load_task_model(folder), classified(folder)
    for answer, scores in zip(model.predict(TEXTS), texts, strict=True):
        if model.target == "number":
            assert answer.label == pytest.approx(scores[0]["score"], abs=2e-5)
            continue
        for one in scores:
            assert answer.probabilities[one["label"]] == pytest.approx(one["score"], abs=2e-5)
        over = [one["label"] for one in scores if one["score"] > 0.5]
        assert sorted(answer.label) == sorted(over) if model.target == "multi" else answer.label == scores[0]["label"]


def test_a_mean_of_tokens_in_modernberts_head_and_a_fresh_dropout_change_nothing(tmp_path: Path) -> None:
    folder = foreign(tmp_path / "model", "modernbert", "sequence", labels=LABELS, classifier_pooling="mean")
    model, (texts, _) = load_task_model(folder), classified(folder)
    for answer, scores in zip(model.predict(TEXTS), texts, strict=True):
        assert answer.label == scores[0]["label"]
        assert answer.probabilities[answer.label] == pytest.approx(scores[0]["score"], abs=2e-5)


@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "deberta-v2"])
@pytest.mark.parametrize("tags", [TAGS, ("O", "S-PER", "B-PER", "I-PER", "E-PER"), ("O", "PER", "LOC", "ORG", "MISC")])
def test_a_tagger_of_transformers_tags_as_its_pipeline(tmp_path: Path, family: str, tags: tuple[str, ...]) -> None:
    folder = foreign(tmp_path / "model", family, "tokens", labels=tags)
    assert kind_of(folder).name == "tagger"
    tagger = load_tagger(folder)
    model = AUTO["tokens"].from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        encoding = tokenizer(text, return_tensors="pt", return_offsets_mapping=True)
        offsets = encoding.pop("offset_mapping")[0].tolist()
        with torch.no_grad():
            best = model(**encoding).logits[0].argmax(-1).tolist()
        firsts = [next(i for i, (_, e) in enumerate(offsets) if e > start) for start, _ in tagger.features.split(text)]
        wanted = tagger.bio.decode([best[i] for i in firsts], tagger.features.split(text))
        found = [(span.start, span.end, span.label) for span in tagger.tag([text])[0]]
        assert found == [(span.start, span.end, span.label) for span in wanted]
    if family == "bert" and "S-PER" not in tags:  # pipelines know no BIOES; their words are BERT's pieces, joined
        entities = pipeline("token-classification", model=str(folder), aggregation_strategy="first")
        for text, document in zip(TEXTS, slonik.tag(folder, TEXTS), strict=True):
            wanted = [(one["start"], one["end"], one["entity_group"]) for one in entities(text)]
            assert [(span.start, span.end, span.label) for span in document.spans] == wanted


def test_candidates_and_spans_are_the_classes_own(root: Path) -> None:
    choice = load_task_model(foreign(root / "choice", "bert", "choice"))
    stock, tokenizer = AUTO["choice"].from_pretrained(root / "choice"), AutoTokenizer.from_pretrained(root / "choice")
    candidates = ["она мыла", "рама мыла маму", "Привет"]
    given = tokenizer([TEXTS[0]] * 3, candidates, return_tensors="pt", padding=True)
    with torch.no_grad():
        wanted = stock(**{name: value[None] for name, value in given.items()}).logits.softmax(-1)[0].tolist()
    found = choice.predict([(TEXTS[0], candidates), (TEXTS[1], candidates[:2])])
    assert list(found[0].probabilities.values()) == pytest.approx(wanted, abs=2e-5)
    answer = load_task_model(foreign(root / "answer", "bert", "answer"))
    stock, question = AUTO["answer"].from_pretrained(root / "answer"), "Где живёт Пётр?"
    given = tokenizer(question, TEXTS[2], return_tensors="pt", return_offsets_mapping=True)
    offsets = given.pop("offset_mapping")[0].tolist()
    with torch.no_grad():
        output = stock(**given)
    inside = given["token_type_ids"][0].bool() & torch.tensor([end > start for start, end in offsets])
    inside[0] = True
    first, last = (x[0].masked_fill(~inside, -1e4).softmax(-1) for x in (output.start_logits, output.end_logits))
    table = torch.triu(torch.outer(first, last))[1:, 1:]
    start, end = divmod(int(table.argmax()), table.shape[1])
    assert end - start < LONGEST_ANSWER
    found = answer.predict([(question, TEXTS[2])])[0]
    assert (found.start, found.end) == (offsets[start + 1][0], offsets[end + 1][1])
    assert found.probabilities[found.label] == pytest.approx(float(table.max()), abs=2e-5)


def test_decoders_and_encoder_decoders_classify_by_their_last_token_in_any_batch(tmp_path: Path) -> None:
    for family, fields in (("gpt2", {}), ("gpt2", {"pad_token_id": None}), ("t5", {})):
        folder = foreign(tmp_path / f"{family}-{len(fields)}", family, "sequence", labels=LABELS, **fields)
        stock, model = AUTO["sequence"].from_pretrained(folder), load_task_model(folder)
        rows = [*TEXTS, "Привет </s> мир"] if family == "t5" else TEXTS
        with torch.no_grad():
            wanted = [
                stock(input_ids=torch.from_numpy(model.pairs.row((text,)).ids)[None]).logits[0].numpy() for text in rows
            ]
        np.testing.assert_allclose(model.logits(rows), np.stack(wanted), atol=2e-5)
        out = save_task_model(model, tmp_path / f"out-{family}-{len(fields)}")
        assert not any(AUTO["sequence"].from_pretrained(out, output_loading_info=True)[1].values())


def test_a_regression_is_written_in_the_units_of_its_data(tmp_path: Path) -> None:
    for shape in ("stock", "own"):
        encoder = models.load(tiny.checkpoint(tmp_path / shape, "bert"))
        config = TaskConfig(kind="sequence", target="number", shape=shape, scale=(7.5, 2.0))  # type: ignore[arg-type]
        model = new_task_model(encoder, config).eval()
        out = save_task_model(model, tmp_path / f"out-{shape}")
        wanted = [answer.label for answer in model.predict(TEXTS)]
        assert [answer.label for answer in load_task_model(out).predict(TEXTS)] == pytest.approx(wanted, abs=1e-4)
        made = pipeline(
            "text-classification", model=str(out), trust_remote_code=shape == "own", function_to_apply="none"
        )
        assert [one["score"] for one in made(TEXTS)] == pytest.approx(wanted, abs=1e-4)


def _damaged(folder: Path, change: Any) -> Path:
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda f: edited(f, id2label={"0": "а", "1": "б"}, label2id=None),
            r"has 3 outputs, and id2label has 2 labels",
        ),
        (lambda f: edited(f, id2label=None, label2id=None), r"has 3 outputs, and id2label has 2 labels"),
        (lambda f: edited(f, id2label={"0": "а", "1": "а", "2": "б"}), "label 'а' more than once"),
        (lambda f: edited(f, problem_type="regression"), "regression of several numbers"),
        (lambda f: edited(f, hidden_size=48), "head and encoder do not belong together"),
        (
            lambda f: _damaged(f, lambda s: s.pop("classifier.weight")),
            "lack 1 tensors of BertForSequenceClassification",
        ),
        (lambda f: _damaged(f, lambda s: s.pop("bert.pooler.dense.weight")), "for example bert.pooler.dense.weight"),
        (
            lambda f: _damaged(f, lambda s: s.update({"classifier.weight": torch.zeros(3, 16)})),
            r"of the size \[3, 16\]",
        ),
    ],
)
def test_heads_that_do_not_fit_are_one_sentence(tmp_path: Path, change: Any, words: str) -> None:
    folder = foreign(tmp_path / "model", "bert", "sequence", labels=LABELS)
    change(folder)
    with pytest.raises(SlonikError, match=words) as raised:
        load_task_model(folder)
    assert "\n" not in str(raised.value)


def test_a_head_for_another_kind_is_refused(tmp_path: Path) -> None:
    folder = foreign(tmp_path / "model", "bert", "tokens", labels=TAGS)
    with pytest.raises(SlonikError, match="slonik tag"):
        load_task_model(folder).predict(TEXTS)
    TaskConfig(kind="sequence", labels=LABELS, shape="stock").write(folder)
    with pytest.raises(SlonikError):
        load_task_model(folder)
    (folder / "task.json").unlink()
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    edited(folder, architectures=["BertModel"], id2label=config["id2label"])
    with pytest.raises(SlonikError, match="names no head"):
        load_task_model(folder)


def test_weights_that_the_class_does_not_read_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = foreign(tmp_path / "more", "bert", "sequence", labels=("да", "нет"))
    weights = load_file(folder / "model.safetensors")
    save_file({**weights, "adapter.weight": torch.zeros(3)}, folder / "model.safetensors", metadata={"format": "pt"})
    load_task_model(folder)
    assert "adapter.weight" in capsys.readouterr().err
