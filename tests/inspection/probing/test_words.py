"""Tasks of words: labels, places, vectors and baselines are what the treebank and the model say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import slonik
from slonik.core.errors import SlonikError
from slonik.inspection.probing import trees
from slonik.inspection.probing.run import probing
from slonik.inspection.probing.scores import Options
from slonik.inspection.probing.word_scores import word_baselines
from slonik.inspection.probing.word_vectors import SentenceWords, WordVectors
from slonik.inspection.probing.words import entity_task, read_treebank, treebank_tasks
from slonik.models.encoder import TorchEncoder
from slonik.models.pooling import reading_part
from tests import tiny
from tests.inspection.probing.treebanks import write_treebank


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_treebank(tmp_path_factory.mktemp("bank") / "bank.conllu")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> TorchEncoder:
    found = slonik.load(tiny.checkpoint(tmp_path_factory.mktemp("model"), "bert"))
    assert isinstance(found, TorchEncoder)
    return found


def test_examples_have_the_labels_of_their_words(bank: Path) -> None:
    treebank = read_treebank([bank])
    case, relation, head = treebank_tasks(treebank, ["case", "relation", "head"])
    for task, right in ((case, _case), (relation, _relation)):
        for split in (task.data.train, task.data.validation, task.data.test):
            for name, label, word in zip(split.texts, split.labels, split.words, strict=True):
                assert label == right(task.forms(name))
                assert word == task.forms(name)[0]
    assert set(case.data.classes) == {"Nom", "Acc", "Ins", "Dat"}
    sentences = [{task.places[n].sentence for n in part.texts}
                 for task in (case,) for part in (task.data.train, task.data.validation, task.data.test)]  # fmt: skip
    assert not sentences[0] & sentences[1] | sentences[0] & sentences[2] | sentences[1] & sentences[2]
    assert head.multiplied
    for name, label in zip(head.data.train.texts, head.data.train.labels, strict=True):
        place = head.places[name]
        word = treebank.sentences[place.sentence].words[place.stretches[0][0]]
        assert (word.head == place.stretches[1][0] + 1) == (label == "1")
    assert 0.35 < (head.data.train.labels == "1").mean() < 0.65


def _case(forms: tuple[str, ...]) -> str:
    (form,) = forms
    return next((case for end, case in (("у", "Acc"), ("ой", "Ins"), ("ам", "Dat"))
                 if form.startswith("гор") and form.endswith(end)), "Nom")  # fmt: skip


def _relation(forms: tuple[str, ...]) -> str:
    starts = {"старый": "amod", "слон": "nsubj", "гор": "obj", "там": "advmod"}
    return next(relation for start, relation in starts.items() if forms[0].startswith(start))


@pytest.mark.parametrize("prefix", ("", "вопрос: "))
def test_a_words_vector_is_the_mean_of_its_tokens(bank: Path, encoder: TorchEncoder, prefix: str) -> None:
    treebank = read_treebank([bank])
    (task,) = treebank_tasks(treebank, ["relation"])
    words = SentenceWords(encoder, treebank.tokens, prefix)
    vectors = WordVectors(words, task)
    name = task.data.test.texts[0]
    place = task.places[name]
    tokens = treebank.tokens[place.sentence]
    encoding = encoder.tokenizer.encode(prefix + tokens.text)
    with torch.no_grad():
        states = reading_part(encoder.model)(
            input_ids=torch.tensor([encoding.ids]), output_hidden_states=True
        ).hidden_states
    for layer in range(vectors.count("mean")):
        expected = []
        for first, end in place.stretches:
            start, stop = tokens.units[first][0] + len(prefix), tokens.units[end - 1][1] + len(prefix)
            inside = [at for at, (a, b) in enumerate(encoding.offsets) if a < stop and b > start]
            expected.append(states[layer][0, inside].mean(0).numpy())
        found = vectors.take("mean", layer, [name])[0]
        np.testing.assert_allclose(found, np.concatenate(expected), atol=2e-2, rtol=1e-2)
    assert vectors.cut == set()


def test_words_alone_are_baselines(bank: Path) -> None:
    (task,) = treebank_tasks(read_treebank([bank]), ["case"])
    right = {r.model: r.value for r in word_baselines([task], None, Options())}
    assert {"majority", "word_form"} <= set(right)
    assert right["word_form"] > 0.95 > 0.7 > right["majority"]  # type: ignore[operator]


def test_a_run_has_controls_twins_and_trees(bank: Path, encoder: TorchEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "_STEPS", 50)
    found = probing(encoder, treebank=bank, asks=["case", "tree"], seeds=1)
    own = {(r.task, r.metric): r for r in found.records if r.layer is None and r.model == encoder.name}
    assert {("case", "accuracy"), ("case", "selectivity"), ("tree", "uuas"), ("tree", "spearman"),
            ("tree", "control_uuas")} <= set(own)  # fmt: skip
    assert own["case", "accuracy"].value > 0.8  # type: ignore[operator]
    assert own["case", "selectivity"].detail["control"].startswith("the word that the task asks about")
    twin = f"{encoder.name} (random weights)"
    assert {twin, "words in a row"} <= {r.model for r in found.records if r.metric == "uuas"}
    assert {"majority", "word_form", twin} <= {r.model for r in found.records if r.task == "case"}
    for record in found.records:
        assert {"data", "texts", "protocol"} <= set(record.hashes)
        if record.low is not None:
            assert record.low <= record.value + 1e-9  # type: ignore[operator]
    keys = [record.key() for record in found.records]
    assert len(keys) == len(set(keys))
    assert "Probing, trees" in [table.title for table in found.tables]


def test_entities_of_annotated_texts(tmp_path: Path, encoder: TorchEncoder) -> None:
    rows = []
    for n in range(120):
        who, place = f"Слон{n % 7}", f"Город{n % 5}"
        text = f"{who} живёт в {place} давно."
        at = text.index(place)
        spans = [[0, len(who), "PER"], [at, at + len(place), "LOC"]]
        rows.append(json.dumps({"id": str(n), "text": f"{text} {n}", "spans": [
            {"start": a, "end": b, "label": label} for a, b, label in spans]}, ensure_ascii=False))  # fmt: skip
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(rows), encoding="utf-8")
    task = entity_task(path)
    assert set(task.data.classes) == {"PER", "LOC"}
    for name, label in zip(task.data.test.texts, task.data.test.labels, strict=True):
        assert task.forms(name)[0].startswith("слон" if label == "PER" else "город")
    found = probing(encoder, entities=path, control=False, baselines=False)
    assert next(r for r in found.records if r.layer is None).value > 0.9  # type: ignore[operator]


def test_mistakes_are_one_sentence(tmp_path: Path, bank: Path) -> None:
    with pytest.raises(SlonikError, match="unknown task of words 'cases'; did you mean 'case'"):
        probing("hashing_300", treebank=bank, asks="cases")
    with pytest.raises(SlonikError, match="give one with --treebank"):
        probing("hashing_300", asks="case")
    with pytest.raises(SlonikError, match="hashing_300 is no transformer"):
        probing("hashing_300", treebank=bank, asks="case", baselines=False)
    with pytest.raises(SlonikError, match="--poolings is for sentences"):
        probing("hashing_300", treebank=bank, poolings=["cls"])
    few = write_treebank(tmp_path / "few.conllu", count=10)
    with pytest.raises(SlonikError, match="case cannot be asked: 0 labels have 20 training"):
        probing("hashing_300", treebank=few, asks="case")


def test_a_treebank_without_a_tree_is_refused_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "loop.conllu"
    path.write_text("1\tКот\tкот\tNOUN\t_\t_\t2\tnsubj\t_\t_\n2\tспит\tспать\tVERB\t_\t_\t1\troot\t_\t_\n\n")
    with pytest.raises(SlonikError, match=r"no sentence can be used \(whose heads form no tree 1\)"):
        read_treebank([path])
