"""Reading scores as spans: offsets, confidence, the rules, long and odd texts; what identity is made of."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from slonik.data.annotations.document import Tagger
from slonik.runtime.tagging import word_tagger
from slonik.runtime.tagging.labels import BioLabels
from slonik.runtime.tagging.names import NameList
from slonik.tagging.models.neural_tagger import NeuralTagger
from tests.tagging.models.toys import LABELS, bilstm, documents, encoder


def eager_tagger(*, crf: bool = False) -> NeuralTagger:
    """A tagger that finds many spans: random weights, O made unlikely."""
    tagger = bilstm(crf=crf)
    with torch.no_grad():
        tagger.model.get_submodule("head.output").weight.mul_(20)  # type: ignore[operator, union-attr]
        tagger.model.get_submodule("head.output").bias[0] = -3  # type: ignore[index, union-attr]
    return tagger


TEXTS = [one.text for one in documents()]


@pytest.mark.parametrize("crf", [False, True])
def test_spans_are_sorted_disjoint_whole_words_with_confidence(crf: bool) -> None:
    tagger = eager_tagger(crf=crf)
    assert isinstance(tagger, Tagger)
    found = tagger.tag(TEXTS)
    assert sum(map(len, found)) > 10
    for text, spans in zip(TEXTS, found, strict=True):
        words = tagger.features.split(text)
        starts, ends = {start for start, _ in words}, {end for _, end in words}
        for before, after in itertools.pairwise(spans):
            assert before.end <= after.start
        for span in spans:
            assert span.start in starts and span.end in ends and span.label in LABELS.classes
            assert span.confidence is not None and 0 <= span.confidence <= 1


def test_without_transition_scores_the_quick_reading_is_the_viterbi_one() -> None:
    tagger = eager_tagger()
    rng = np.random.default_rng(0)
    for _ in range(30):
        emissions = rng.standard_normal((9, len(LABELS))).astype(np.float32)
        assert np.array_equal(tagger.reading().decode(emissions), tagger.chain.decode(emissions))


def test_a_long_text_in_segments_keeps_its_offsets(monkeypatch: pytest.MonkeyPatch) -> None:
    tagger = eager_tagger()
    text = "\n".join(TEXTS * 3)
    monkeypatch.setattr(word_tagger, "SEGMENT_CHARACTERS", 120)
    monkeypatch.setattr(word_tagger, "_GROUP_CHARACTERS", 300)
    spans = tagger.tag([text, "", TEXTS[0]])
    assert spans[1] == []
    assert spans[0] == sorted(spans[0]) and spans[0][-1].end > 120 * 3
    words = {offsets for part in _words(tagger, text) for offsets in part}
    assert all(any(span.start == start for start, _ in words) for span in spans[0])


def _words(tagger: NeuralTagger, text: str) -> list[list[tuple[int, int]]]:
    return [tagger.features.split(text)]


def _other_weights(tagger: NeuralTagger) -> None:
    with torch.no_grad():
        next(tagger.model.parameters()).view(-1)[0].add_(0.5)


def _other_words(tagger: NeuralTagger) -> None:
    tagger.features.characters = "абв"  # type: ignore[attr-defined]


def _other_precision(tagger: NeuralTagger) -> None:
    tagger.autocast = torch.bfloat16


def _other_window(tagger: NeuralTagger) -> None:
    tagger.features.window = 7  # type: ignore[attr-defined]


def _other_names(tagger: NeuralTagger) -> None:
    tagger.features.names = NameList.of(LABELS, documents()[:2])


def _other_config(tagger: NeuralTagger) -> None:
    tagger.model.transformer.config.hidden_act = "relu"  # type: ignore[union-attr]


def _other_tokenizer(tagger: NeuralTagger) -> None:
    tagger.model.encoder.tokenizer.add_tokens(["хакер"])  # type: ignore[operator, union-attr]


def _other_labels(tagger: NeuralTagger) -> None:
    tagger.bio = BioLabels((*LABELS.classes[:-1], "WORM"))


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        *(("bilstm", change) for change in (_other_words, _other_weights)),
        *(("encoder", change) for change in (_other_weights, _other_config, _other_tokenizer)),
        *((kind, change) for kind in ("bilstm", "encoder")
          for change in (_other_precision, _other_window, _other_names, _other_labels)),
    ],
)  # fmt: skip
def test_identity_is_everything_that_decides_the_probabilities(
    tmp_path: Path, kind: str, change: Callable[[NeuralTagger], None]
) -> None:
    tagger = bilstm() if kind == "bilstm" else encoder(tmp_path / "base")
    same = bilstm() if kind == "bilstm" else encoder(tmp_path / "again")
    before = tagger.identity()
    assert before == same.identity() == tagger.identity()
    change(tagger)
    assert tagger.identity() != before


def test_texts_without_words_have_no_spans() -> None:
    assert eager_tagger().tag(["", " \n\t", "\u200b"]) == [[], [], []]


def test_a_lexicon_that_grew_is_emptied_but_for_pinned_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    from slonik.tagging.models import word_features

    tagger = eager_tagger()
    features = tagger.features
    first = tagger.tag(TEXTS[:2])
    features.pin()  # type: ignore[attr-defined]
    kept = len(features._rows)  # type: ignore[attr-defined]
    monkeypatch.setattr(word_features, "_LARGEST_LEXICON", 5)
    tagger.tag(TEXTS[2:])
    features.forget()
    assert len(features._rows) == len(features._forms) == kept  # type: ignore[attr-defined]
    assert tagger.tag(TEXTS[:2]) == first
