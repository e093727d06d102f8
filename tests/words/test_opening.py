"""Words of models: tokens that are whole words, layers, places in texts; what means nothing is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from slonik.core.errors import SlonikError
from slonik.models.loading import load
from slonik.text.tokenizing import content_ids, template_of
from slonik.words.ask import ask_words
from slonik.words.opening import open_words, whole_words
from tests import tiny


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("models")
    return {family: str(tiny.checkpoint(root / family, family)) for family in ("bert", "gpt2", "t5", "xlm-roberta")}


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5", "xlm-roberta"])
def test_the_table_of_tokens_gives_rows_and_means_of_rows(family: str, models: dict[str, str]) -> None:
    encoder = load(models[family])
    table = encoder.model.get_input_embeddings().weight.detach().numpy()
    found = open_words(models[family])
    names, ids = whole_words(encoder.tokenizer)
    assert list(found.words) == names and len(names) > 20
    assert all(content_ids(encoder.tokenizer, [name])[0] == [number] for name, number in zip(names, ids, strict=True))
    np.testing.assert_allclose(found.rows, table[ids])
    unknown = "слоноведение"
    (pieces,) = content_ids(encoder.tokenizer, [unknown])
    np.testing.assert_allclose(found.vector(unknown), table[pieces].mean(0), atol=1e-6)


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_a_layer_reads_words_alone(family: str, models: dict[str, str]) -> None:
    encoder = load(models[family])
    found = open_words(models[family], layer=2, vocabulary=["слон", "москва", "и"])
    assert found.words == ("слон", "москва", "и")
    template = template_of(encoder.tokenizer)
    part = encoder.model.get_encoder() if family == "t5" else encoder.model
    for word, row in zip(found.words, found.rows, strict=True):
        (ids,) = content_ids(encoder.tokenizer, [word])
        with torch.no_grad():
            given = torch.tensor([[*template.head, *ids, *template.tail]])
            states = part(input_ids=given, output_hidden_states=True).hidden_states[2][0]
        start = len(template.head)
        np.testing.assert_allclose(row, states[start : start + len(ids)].mean(0).numpy(), atol=1e-5)


def test_a_word_in_texts_is_the_mean_of_its_places(models: dict[str, str], tmp_path: Path) -> None:
    texts = ["Слон идёт домой.", "Домой идёт большой слон!", "Где слон?"]
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(texts), encoding="utf-8")
    found = open_words(models["bert"], layer=1, texts=path)
    assert found.words == ("слон",)  # the others are fewer than three times there
    assert "left out (4 of 5)" in found.notes[0]
    encoder = load(models["bert"])
    sums = []
    for text in texts:
        encoding = encoder.tokenizer.encode(text)
        with torch.no_grad():
            states = encoder.model(input_ids=torch.tensor([encoding.ids]), output_hidden_states=True).hidden_states[1][
                0
            ]
        start = text.lower().index("слон")
        own = [i for i, (a, b) in enumerate(encoding.offsets) if a < start + 4 and b > start and b > a]
        sums.append(states[own].mean(0).numpy())
    np.testing.assert_allclose(found.rows[0], np.mean(sums, axis=0), atol=1e-5)


def test_what_means_nothing_is_refused(models: dict[str, str], tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text("\n\n", encoding="utf-8")
    for options, sentence in (
        ({"layer": 3}, "has no layer 3: give 0 .what goes in. to 2"),
        ({"layer": -1}, "has no layer -1"),
        ({"texts": empty}, "say which"),
        ({"vocabulary": empty}, "holds no word"),
        ({"limit": 0}, "limit is 0"),
    ):
        with pytest.raises(SlonikError, match=sentence):
            open_words(models["bert"], **options)  # type: ignore[arg-type]
    with pytest.raises(SlonikError, match=r"there is no file nowhere\.vec"):
        open_words("nowhere.vec")
    with pytest.raises(SlonikError, match="a baseline"):
        open_words("hashing_300")
    vectors = tmp_path / "w.vec"
    vectors.write_text("2 2\nслон 1 0\nлев 0 1\n", encoding="utf-8")
    with pytest.raises(SlonikError, match="no layers"):
        open_words(vectors, layer=1)
    few = open_words(vectors, vocabulary=["лев", "кит"])
    assert few.words == ("лев",) and "1 of 2 words" in few.notes[0]


def test_all_questions_at_once_and_nothing_asked(models: dict[str, str], tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("word1,word2,sim\nслон,москва,1\nслон,слоны,3\nи,москва,2\n", encoding="utf-8")
    found = ask_words(
        models["bert"], nearest_to=["слон"], sums=["слон + (москва - и)"], odd=[["слон", "москва", "и"]],
        similarity=[pairs], top=3,
    )  # fmt: skip
    assert [record.task for record in found.records] == ["nearest", "sum_add", "odd", "pairs"]
    assert len({record.key() for record in found.records}) == len(found.records) == 4
    assert len(found.tables) == 4 and "drawn at random" in "".join(found.notes)
    with pytest.raises(SlonikError, match="nothing is asked"):
        ask_words(models["bert"])
    with pytest.raises(SlonikError, match="--top is of --nearest and --sum"):
        ask_words(models["bert"], odd=[["слон", "москва", "и"]], top=3)
    with pytest.raises(SlonikError, match="--method is of --sum"):
        ask_words(models["bert"], nearest_to=["слон"], method="mul")
    with pytest.raises(SlonikError, match="--method is 'div'"):
        ask_words(models["bert"], sums=["a + b"], method="div")  # type: ignore[arg-type]
