"""One text in a model: tokens and words, attention of every stack, what scores hang on, the lens, neighbours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM

from slonik.core.errors import SlonikError
from slonik.inspection.attention import text_attention, unpacked
from slonik.inspection.attribution import attention_rollout, attribution, integrated_gradients
from slonik.inspection.lens import logit_lens
from slonik.inspection.neighbours import layer_neighbours
from slonik.inspection.text_tokens import read_tokens
from slonik.models.loading import load
from slonik.models.task_model import new_task_model, save_task_model
from slonik.text.task_config import TaskConfig
from tests import tiny

TEXT = "Слон медленно идёт домой."


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("models")
    return {name: str(tiny.checkpoint(root / name, name)) for name in ("bert", "xlm-roberta", "gpt2", "t5")}


@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "gpt2", "t5"])
def test_every_token_has_its_word_and_specials_have_none(family: str, models: dict[str, str]) -> None:
    encoder = load(models[family])
    found = read_tokens(encoder, TEXT)
    assert found.words == ("Слон", "медленно", "идёт", "домой", ".")
    assert list(found.ids) == encoder.tokenize([TEXT])[0]
    inside = [number for number, special in zip(found.word, found.special, strict=True) if not special]
    assert inside == sorted(inside) and set(inside) == set(range(5))
    assert found.special.sum() == len(found.ids) - len(encoder.tokenizer.encode(TEXT, add_special_tokens=False).ids)
    long = read_tokens(encoder, "слон " * 200)
    assert long.cut > 300 and len(long.ids) == encoder.max_length


def test_attention_of_every_stack_is_kept_to_a_255th_of_its_row(models: dict[str, str]) -> None:
    encoder = load(models["t5"])
    found = text_attention(encoder, TEXT, target="Слон дома")
    assert [stack.stack for stack in found.stacks] == ["encoder", "decoder", "cross"]
    ids = torch.tensor([found.stacks[0].rows.ids])
    given = torch.tensor([found.stacks[1].rows.ids])
    assert given[0, 0] == encoder.model.config.decoder_start_token_id
    plain = AutoModel.from_pretrained(models["t5"], attn_implementation="eager").eval()
    with torch.no_grad():
        output = plain(input_ids=ids, decoder_input_ids=given, output_attentions=True)
    expected_of = (output.encoder_attentions, output.decoder_attentions, output.cross_attentions)
    for stack, weights in zip(found.stacks, expected_of, strict=True):
        for layer, expected in zip(stack.weights, weights, strict=True):
            np.testing.assert_allclose(layer, expected[0].numpy(), atol=1e-5)
    cross = found.records[2].detail
    shape = len(cross["rows"]["tokens"]), len(cross["columns"]["tokens"])
    again = unpacked(cross["layers"][1], *shape)
    rows = found.stacks[2].weights[1]
    assert (np.abs(again - rows) <= rows.max(-1, keepdims=True) / 500).all()
    with pytest.raises(SlonikError, match="--target means nothing"):
        text_attention(models["bert"], TEXT, target="дом")
    with pytest.raises(SlonikError, match="no text"):
        text_attention(models["bert"], "  ")


def test_gradients_of_a_known_function_are_exact() -> None:
    embedding = torch.nn.Embedding(5, 3)
    weights = torch.tensor([1.0, -2.0, 0.5])

    def score(ids: torch.Tensor) -> torch.Tensor:
        return (embedding(ids) @ weights).pow(2).sum(-1)  # a sum over tokens: each token's share is known

    ids, without = torch.tensor([1, 2, 3]), torch.tensor([1, 0, 0])
    values, value, base, _ = integrated_gradients(embedding, ids, without, score)
    each = (embedding(ids) @ weights).pow(2) - (embedding(without) @ weights).pow(2)
    np.testing.assert_allclose(values, each.detach().numpy(), rtol=1e-4, atol=1e-6)
    assert values[0] == 0 and values.sum() == pytest.approx(value - base, rel=1e-4)


def test_rollout_of_a_case_worked_by_hand() -> None:
    first = np.array([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.5, 0.5]]])  # two heads: mean [[.5, .5], [.5, .5]]
    second = np.array([[[0.0, 1.0], [1.0, 0.0]]])
    # halves with the residual way: [[.75, .25], [.25, .75]] and [[.5, .5], [.5, .5]]
    np.testing.assert_allclose(attention_rollout([first]), [[0.75, 0.25], [0.25, 0.75]])
    np.testing.assert_allclose(attention_rollout([first, second]), [[0.5, 0.5], [0.5, 0.5]])
    third = np.array([[[0.0, 1.0], [0.0, 1.0]]])  # [[.5, .5], [0, 1]]: second after first
    np.testing.assert_allclose(attention_rollout([first, third]), [[0.5, 0.5], [0.25, 0.75]])


def _classifier(root: Path, family: str, **config: object) -> str:
    encoder = load(tiny.checkpoint(root / f"{family}-base", family))
    task = TaskConfig(**{"kind": "sequence", "task": "тон", "target": "single", "labels": ("да", "нет", "как"),
                         "max_length": 32, **config})  # type: ignore[arg-type]  # fmt: skip
    return str(save_task_model(new_task_model(encoder, task, seed=1), root / f"{family}-{task.kind}"))


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_what_a_label_hangs_on_adds_up_to_its_score(family: str, tmp_path: Path) -> None:
    folder = _classifier(tmp_path, family)
    found = attribution(folder, TEXT, label="нет")
    assert found.target == "label нет"
    assert abs(found.gap) <= 0.011 * abs(found.score - found.baseline)
    assert sum(values.sum() for values in found.values) == pytest.approx(
        found.score - found.baseline, abs=abs(found.gap) + 1e-6
    )
    (values,), (part,) = found.values, found.parts
    assert (values[part.special] == 0).all() and np.abs(values[~part.special]).max() > 0
    from slonik.models.task_model import load_task_model

    model = load_task_model(folder)
    assert found.score == pytest.approx(float(model.logits([TEXT])[0, 1]), abs=1e-4)
    assert attribution(folder, TEXT).target == f"label {model.predict([TEXT])[0].label}"
    with pytest.raises(SlonikError, match="label"):
        attribution(folder, TEXT, label="никак")
    with pytest.raises(SlonikError, match="--word"):
        attribution(folder, TEXT, word="Слон")


def test_a_pair_a_number_and_a_stock_head(tmp_path: Path) -> None:
    folder = _classifier(tmp_path, "bert", target="number", labels=())
    found = attribution(folder, TEXT, pair="Слон дома.")
    assert len(found.parts) == 2 and found.parts[1].words == ("Слон", "дома", ".")
    assert sum(values.sum() for values in found.values) == pytest.approx(
        found.score - found.baseline, abs=abs(found.gap) + 1e-6
    )
    assert abs(found.gap) <= 0.011 * abs(found.score - found.baseline)


def test_what_a_tag_hangs_on(tmp_path: Path) -> None:
    encoder = load(tiny.checkpoint(tmp_path / "base", "xlm-roberta"))
    tags = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    config = TaskConfig(kind="tokens", task="ner", target="tags", labels=tags, shape="own", max_length=32,
                        head={"crf": False, "layers": 3, "names": False}, details={"overlap": 4})  # fmt: skip
    folder = save_task_model(new_task_model(encoder, config, seed=2), tmp_path / "tagger")
    found = attribution(folder, TEXT, word="идёт", label="LOC")
    assert "'идёт'" in found.target and "LOC" in found.target
    assert found.parts[0].words == ("Слон", "медленно", "идёт", "домой", ".")
    assert found.values[0].sum() == pytest.approx(found.score - found.baseline, abs=abs(found.gap) + 1e-6)
    assert abs(found.gap) <= 0.011 * abs(found.score - found.baseline)
    assert "tag" in attribution(folder, TEXT).target
    with pytest.raises(SlonikError, match="has no word 'кит'"):
        attribution(folder, TEXT, word="кит")


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_what_a_similarity_hangs_on(family: str, models: dict[str, str]) -> None:
    encoder = load(models[family])
    found = attribution(encoder, TEXT, pair="Кот бежит в дом.")
    first, second = encoder.encode([TEXT, "Кот бежит в дом."])
    cosine = float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))
    assert found.score == pytest.approx(cosine, abs=1e-4)
    assert found.values[0].sum() == pytest.approx(found.score - found.baseline, abs=abs(found.gap) + 1e-6)
    for part, rolled in zip(found.parts, found.rollout, strict=True):
        assert rolled is not None and rolled.shape == (len(part.ids),) and rolled.sum() == pytest.approx(1.0)
    with pytest.raises(SlonikError, match="no head whose score"):
        attribution(encoder, TEXT)
    with pytest.raises(SlonikError, match="no labels"):
        attribution(encoder, TEXT, pair="дом", label="да")


def _with_head(root: Path, family: str) -> str:
    folder = tiny.checkpoint(root / family, family)
    auto = AutoModelForCausalLM if family == "gpt2" else AutoModelForMaskedLM
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        auto.from_pretrained(folder).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "deberta-v2", "modernbert", "gpt2"])
def test_the_lens_ends_with_the_models_own_prediction(family: str, tmp_path: Path) -> None:
    folder = _with_head(tmp_path, family)
    found = logit_lens(folder, "Слон идёт домой.")
    auto = AutoModelForCausalLM if family == "gpt2" else AutoModelForMaskedLM
    model = auto.from_pretrained(folder).eval()
    ids = torch.tensor(found.tokens.ids)
    for place, top, sure, truth in zip(
        found.places, found.top[-1], found.probabilities[-1], found.truth[-1], strict=True
    ):
        row = ids.clone()
        if family != "gpt2":
            row[place] = load(folder).tokenizer.token_to_id("[MASK]" if family == "bert" else "<mask>")
        with torch.no_grad():
            logits = model(input_ids=row[None]).logits[0, place - (family == "gpt2")]
        shares = logits.double().softmax(-1)
        np.testing.assert_allclose(sure, shares[torch.from_numpy(top)].numpy(), rtol=1e-3)
        assert truth == pytest.approx(float(shares[ids[place]]), rel=1e-3)
    assert found.top.shape[0] == 3
    assert len(found.records) == 3 and found.records[0].layer == 0
    # layers before the last go through the model's final norm, where it has one
    assert not np.allclose(found.probabilities[0], found.probabilities[-1])


def test_the_lens_refuses_what_it_cannot_read(models: dict[str, str]) -> None:
    with pytest.raises(SlonikError, match=r"encoder-decoder|head of its own"):
        logit_lens(models["t5"], TEXT)
    with pytest.raises(SlonikError, match="no language-model head of its own"):
        logit_lens(models["bert"], TEXT)


def test_neighbours_in_every_layer(models: dict[str, str]) -> None:
    found = layer_neighbours(models["bert"], TEXT, [*tiny.TEXTS, TEXT], top=3)
    assert [record.layer for record in found] == [0, 1, 2]
    assert all(len(record.detail["answers"]) == 3 and TEXT not in str(record.detail["answers"]) for record in found)
    states = load(models["bert"]).encode_layers([TEXT, *dict.fromkeys(tiny.TEXTS)], ["mean"], prefix=None)["mean"][1]
    centred = states.astype(np.float32) - states[1:].astype(np.float32).mean(0)
    cosines = centred[1:] @ centred[0] / np.linalg.norm(centred[1:], axis=1) / np.linalg.norm(centred[0])
    assert found[1].value == pytest.approx(cosines.max(), abs=1e-4)
    with pytest.raises(SlonikError, match="has no layer 7"):
        layer_neighbours(models["bert"], TEXT, tiny.TEXTS, layer=7)
    with pytest.raises(SlonikError, match="three at least"):
        layer_neighbours(models["bert"], TEXT, [TEXT])
