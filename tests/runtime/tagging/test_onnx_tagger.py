"""Exported taggers: spans and confidences of torch, with CRF, layers and names; tags of other people's taggers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

import slonik
from slonik.core.errors import NotNumbers, SlonikError
from slonik.core.protocols import FloatArray
from slonik.runtime.tagging.chain import Chain
from slonik.runtime.tagging.labels import PlainTags, tag_labels
from slonik.runtime.tagging.windows import Window
from slonik.runtime.tagging.word_tagger import WordTagger
from tests.exporting.heads.headed import TAGS, checkpoint, exported
from tests.tiny.texts import TEXTS


class _NeverRun(WordTagger):
    """Has labels, and is asked for nothing."""

    def reading(self) -> Chain:
        raise NotImplementedError

    def scores(self, windows: Sequence[Window]) -> list[FloatArray]:
        raise NotImplementedError


TAGGED = [*TEXTS[:6], "", "  ", "Слон 😀 за\u0301мок\u00a0тут и слон", " ".join(TEXTS), "слово" * 100]


@pytest.mark.parametrize("name", ["tagger", "foreign"])
def test_spans_and_confidences_are_those_of_torch(name: str) -> None:
    expected, found = slonik.load(checkpoint(name)), slonik.load(exported(name)[0], file="model.onnx")
    assert found.labels == expected.labels == ("LOC", "PER")
    spans, wanted = found.tag(TAGGED), expected.predict(TAGGED)
    assert sum(map(len, wanted)) > 20
    for a, b in zip(spans, wanted, strict=True):
        assert [(one.start, one.end, one.label) for one in a] == [(one.start, one.end, one.label) for one in b]
        assert np.allclose([one.confidence for one in a], [one.confidence for one in b], atol=1e-4)


def test_int8_tags_a_text_alike_alone_and_in_company() -> None:
    tagger = slonik.load(exported("tagger")[0])
    assert tagger.alone and tagger.describe()["kind"] == "encoder-crf"
    assert tagger.tag(TAGGED) == [tagger.tag([text])[0] for text in TAGGED]
    assert [document.spans for document in slonik.tag(exported("tagger")[0], TAGGED)] == [
        tuple(spans) for spans in tagger.predict(TAGGED)
    ]


def test_scores_that_are_no_numbers_are_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    tagger = slonik.load(checkpoint("tagger"), device="cpu")
    lost = np.float32(np.nan)
    monkeypatch.setattr(
        tagger, "scores", lambda windows: [np.full((one.stop - one.first, len(TAGS)), lost) for one in windows]
    )
    with pytest.raises(NotNumbers, match=r"text 2: .*NaN"):
        tagger.tag(["", "Слон пришёл"])


def test_tags_of_any_scheme_are_read_as_they_come() -> None:
    words = [(0, 2), (3, 5), (6, 8), (9, 11)]
    plain = PlainTags(("O", "PER", "LOC"))
    assert [(s.start, s.end, s.label) for s in plain.decode([1, 1, 2, 0], words)] == [(0, 5, "PER"), (6, 8, "LOC")]
    marked = PlainTags(("B-PER", "E-PER", "S-LOC", "O"))
    found = marked.decode([0, 1, 2, 2], words, [0.9, 0.5, 0.8, 0.7])
    assert [(s.start, s.end, s.label, s.confidence) for s in found] == [
        (0, 5, "PER", 0.5), (6, 8, "LOC", 0.8), (9, 11, "LOC", 0.7),
    ]  # fmt: skip
    assert plain.classes == ("LOC", "PER") and marked.classes == ("LOC", "PER")


@pytest.mark.parametrize(
    ("names", "tags"),
    [
        ("O B-PER I-PER L-PER U-PER", "O B-PER I-PER L-PER U-PER"),
        ("I-PER B-PER O", "I-PER B-PER O"),
        ("O B-PER I-PER X [CLS] [SEP]", "O B-PER I-PER O O O"),
        ("O B-PER I-PER MISC", "O B-PER I-PER I-MISC"),
        ("o b-per i-per", "O B-per I-per"),
        ("O PER-B PER-I", "O B-PER I-PER"),
        ("O B_PER I_PER", "O B-PER I-PER"),
        ("0 B-PER I-PER", "O B-PER I-PER"),
        ("OUT B-PER I-PER", "O B-PER I-PER"),
        ("O B-PER B-LOC", "O B-PER B-LOC"),
        ("O E-MAIL LOC", "O I-E-MAIL I-LOC"),
        ("O VITAMIN-B GROUP-A", "O I-VITAMIN-B I-GROUP-A"),
        ("O VITAMIN-B VITAMIN-E", "O I-VITAMIN-B I-VITAMIN-E"),
        ("NOUN VERB X", "I-NOUN I-VERB I-X"),
        ("LABEL_0 LABEL_1", "I-LABEL_0 I-LABEL_1"),
    ],
)
def test_tags_mean_the_same_however_they_are_spelled(names: str, tags: str) -> None:
    assert " ".join(PlainTags(tuple(names.split())).tags) == tags


def test_tags_that_say_nothing_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SlonikError, match="has no name"):
        tag_labels(("O", ""), rules=False).classes  # noqa: B018
    _NeverRun("nameless", PlainTags(("LABEL_0", "LABEL_1")), None, None)  # type: ignore[arg-type]
    assert (
        "none of the tags of nameless (LABEL_0, LABEL_1, ...) says that a word is none" in capsys.readouterr().err
    )
