"""The CRF over hand features: it learns, survives its folder, gives exact offsets on any text, refuses damage."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.data.annotations.document import Document, Tagger
from slonik.data.annotations.tags import tokenize
from slonik.runtime.tagging.names import Gazetteer, names_of
from slonik.tagging.metrics import score
from slonik.tagging.models import load_tagger
from slonik.tagging.models.feature_crf import LONGEST, CrfConfig, FeatureCrf, sentences, train_crf
from slonik.tagging.models.hand_features import Context, HandFeatures, shapes
from slonik.tagging.models.word_clusters import WordClusters
from tests.data.annotations.samples import AWKWARD
from tests.tagging.models.security_texts import documents


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> FeatureCrf:
    return train_crf(documents(40), tmp_path_factory.mktemp("crf") / "crf", CrfConfig(iterations=30, clusters=32))


def test_it_learns_and_generalises(trained: FeatureCrf) -> None:
    held = documents(15, seed=9)
    found = score("crf", held, trained.tag([document.text for document in held]), task="toy")
    value = found.record("f1_micro").value
    assert value is not None and value > 0.9
    assert isinstance(trained, Tagger) and trained.labels == ("LOC", "ORG", "PROGRAM", "VIRUS")


def test_its_folder_gives_the_same_tagger(trained: FeatureCrf) -> None:
    again = load_tagger(trained.folder)
    texts = [document.text for document in documents(5, seed=3)]
    spans = again.tag(texts)
    assert spans == trained.tag(texts)
    assert all(0 < span.confidence <= 1 for one in spans for span in one if span.confidence is not None)
    facts = again.describe()
    assert facts["kind"] == "crf" and facts["parameters"] > 100 and facts["bytes"] > 1000
    step = Passport.read(trained.folder).lineage[-1]
    assert step.config["kind"] == "crf" and step.summary["documents"] == 40 and step.inputs["texts"]


def test_the_same_texts_give_the_same_weights(trained: FeatureCrf, tmp_path: Path) -> None:
    again = train_crf(documents(40), tmp_path / "crf", CrfConfig(iterations=30, clusters=32))
    assert again.describe()["weights_hash"] == trained.describe()["weights_hash"]


@pytest.mark.parametrize(
    "text", ["", " \r\n\t", AWKWARD, "漢字 と かな 🎉🎉", "ĀĂĄ " * 50, "\ufeff\u200b", "а\u0301" * 300, "\x00\ud800"]
)
def test_any_text_is_tagged_with_spans_on_its_own_words(trained: FeatureCrf, text: str) -> None:
    [spans] = trained.tag([text])
    borders = {place for token in tokenize(text) for place in token}
    assert all(span.start in borders and span.end in borders and span.start < span.end for span in spans)
    assert all(one.end <= other.start for one, other in itertools.pairwise(spans))


def test_a_long_text_is_tagged_as_its_sentences_are(trained: FeatureCrf) -> None:
    text = "".join(document.text for document in documents(120, seed=5))
    [spans] = trained.tag([text])
    assert len(spans) > 500
    assert {text[span.start : span.end] for span in spans if span.label == "VIRUS"} >= {"Petya", "WannaCry"}


def test_nothing_to_learn_and_full_folders_are_refused(trained: FeatureCrf, tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match="nothing to learn: none of the 1 documents"):
        train_crf([Document("a", "текст")], tmp_path / "a")
    with pytest.raises(SlonikError, match="is there already"):
        train_crf(documents(5), trained.folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.crfsuite", "its hash differs"),
        ("names.json.gz", "missing or damaged"),
        ("clusters.txt.gz", "missing or damaged"),
        ("tagger.json", "tagger.json"),
    ],
)
def test_damaged_files_are_named_before_they_are_opened(
    trained: FeatureCrf, tmp_path: Path, name: str, message: str
) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in trained.folder.iterdir():
        content = path.read_bytes()
        (folder / path.name).write_bytes(content[: len(content) // 2] if path.name == name else content)
    with pytest.raises(SlonikError, match=message):
        load_tagger(folder)


def test_an_unknown_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "tagger.json").write_text(json.dumps({"kind": "crff"}), encoding="utf-8")
    with pytest.raises(SlonikError, match="did you mean 'crf'"):
        load_tagger(tmp_path)


def test_sequences_cover_all_tokens_and_stay_short() -> None:
    text = "Он жил в г. Туле. Потом А. С. Пушкин уехал! «Куда?» Неизвестно.\nСтрока " + "слово " * 700
    offsets = tokenize(text)
    found = list(sentences(text, offsets))
    assert [first for first, _ in found][1:] == [after for _, after in found][:-1]
    assert found[0][0] == 0 and found[-1][1] == len(offsets)
    assert max(after - first for first, after in found) <= LONGEST
    starts = [text[offsets[first][0] : offsets[first][1]] for first, _ in found]
    assert starts[:5] == ["Он", "Потом", "«", "Неизвестно", "Строка"]


def test_a_training_text_does_not_find_its_own_names_in_the_list() -> None:
    features = HandFeatures()
    texts = [features.words(document.text) for document in documents(2)]
    names = [
        names_of(document.spans, words.offsets, words.lower)
        for document, words in zip(documents(2), texts, strict=True)
    ]
    gazetteer = Gazetteer.of(names)
    alone = Gazetteer.of(names[1:])
    words, own = texts[0], names[0]
    assert gazetteer.features(words.lower, own) == alone.features(words.lower)
    assert any(gazetteer.features(words.lower)) and Gazetteer.of(names[:1]).features(words.lower, own) == [""] * len(
        words.lower
    )


def test_the_longest_listed_name_wins() -> None:
    gazetteer = Gazetteer({("банк",): {"ORG": 1}, ("банк", "россии"): {"ORG": 2}, ("россии",): {"LOC": 3}})
    assert gazetteer.features(["банк", "россии", "россии", "банка"]) == ["B-ORG", "I-ORG", "B-LOC", ""]


def test_features_say_what_they_promise() -> None:
    features = HandFeatures()
    words = features.words("Хакеры взломали «Windows 7» в Туле")
    context = Context.of(words, Gazetteer({("windows", "7"): {"PROGRAM": 4}}))
    rows = features.sequence(words, 0, len(words.offsets), context)
    by_word = dict(zip(words.lower, rows, strict=True))
    assert {"w=хакеры", "l=хакер", "t=NOUN|nomn|", "h=Xx", "begins", "1l=взломать"} <= set(by_word["хакеры"])
    assert {"c=a", "h=Aa", "quoted", "0g=B-PROGRAM", "-1w=«", "joined", "x2=ws"} <= set(by_word["windows"])
    assert {"rb=«", "ra=»", "rf=windows", "rl=7", "rw=windows 7", "rp=1|1"} <= set(by_word["7"])
    assert {"k=Geox", "l=тула", "-1t=PREP", "1edge"} <= set(by_word["туле"])
    assert shapes("Ёж-2Bis") == ("Xx-0Aaa", "Xx-0Aa")
    grouped = HandFeatures(WordClusters({"тула": 5, "туле": 5}, [0, 0, 0, 0, 0, 9])).words("в Туле").forms[1]
    assert {"gf=5", "gc=9", "gh=9|Xx"} <= set(grouped.own) and grouped.group == "9"
    stressed = features.words("атакова\u0301ла").forms[0]
    assert stressed.lemma == "атаковать"


def test_names_from_outside_are_features_of_their_own(tmp_path: Path) -> None:
    lists = [{("зелёный", "крот"): "VIRUS"}]
    settings = CrfConfig(iterations=5, clusters=0)
    with_lists = train_crf(documents(20), tmp_path / "lists", settings, lists=lists)
    assert (tmp_path / "lists" / "lists.json.gz").is_file()
    again = load_tagger(tmp_path / "lists")
    texts = [document.text for document in documents(4, seed=3)]
    assert isinstance(again, FeatureCrf) and again.tag(texts) == with_lists.tag(texts)
    words = HandFeatures().words("Зелёный крот опасен")
    assert again._sources.say(words) == [["B-VIRUS", "I-VIRUS", ""]]
    assert again._sources.say(words, lists=False) == [["", "", ""]]
    (tmp_path / "lists" / "lists.json.gz").unlink()
    with pytest.raises(SlonikError, match="missing or damaged"):
        load_tagger(tmp_path / "lists")


def test_another_tagger_is_an_adviser_and_travels_along(trained: FeatureCrf, tmp_path: Path) -> None:
    settings = CrfConfig(iterations=5, clusters=0, advisers=(str(trained.folder),))
    made = train_crf(documents(20, seed=7), tmp_path / "advised", settings)
    assert (tmp_path / "advised" / "adviser-0" / "model.crfsuite").is_file()
    text = documents(1, seed=3)[0].text
    said = made._sources.say(HandFeatures().words(text))[0]
    assert [tag for tag in said if tag] and made.tag([text])
    bad = CrfConfig(iterations=5, clusters=0, advisers=(str(tmp_path),))
    with pytest.raises(SlonikError, match="no folder of a CRF or a BiLSTM"):
        train_crf(documents(5), tmp_path / "bad", bad)


def test_copies_with_other_names_are_trained_on_without_lists(tmp_path: Path) -> None:
    settings = CrfConfig(iterations=5, clusters=0)
    plain = train_crf(documents(10), tmp_path / "plain", settings)
    more = train_crf(documents(10), tmp_path / "more", settings, substituted=documents(10, seed=4))
    assert plain.describe()["weights_hash"] != more.describe()["weights_hash"]
    assert (tmp_path / "plain" / "names.json.gz").read_bytes() == (tmp_path / "more" / "names.json.gz").read_bytes()


def test_probabilities_of_words_are_a_distribution_and_agree_with_the_spans(trained: FeatureCrf) -> None:
    texts = [document.text for document in documents(3, seed=3)]
    for scores, text in zip(trained.marginals(texts), texts, strict=True):
        assert scores.words == tokenize(text)
        assert np.allclose(scores.values.sum(-1), 1.0, atol=1e-3)
