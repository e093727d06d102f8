"""Entities within entities: what is learned is found, saved, loaded and told apart; what may overlap; new types."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import httpx2
import numpy as np
import pytest
import torch

from slonik.core.errors import SlonikError
from slonik.core.passport import Step
from slonik.data.annotations.document import Document, Span
from slonik.models.modeling_slonik_heads import SpanScores
from slonik.tagging.config import System
from slonik.tagging.fit import fit_tagger
from slonik.tagging.making import new_span_tagger, save_tagger
from slonik.tagging.matching import exact_f1
from slonik.tagging.material import Material
from slonik.tagging.models import load_tagger
from slonik.tagging.models.span_tagger import DescriptionRows, SpanTagger, overlaps_of, settled
from slonik.tagging.spans import NO_SPAN, span_collate, span_examples, targets
from tests.serving.conftest import serving
from tests.tagging.models.toys import LABELS, documents
from tests.tiny.models import checkpoint


def nested() -> list[Document]:
    """The toy sentences, with the name of a person inside that of the company."""
    found = []
    for document in documents():
        place = document.text.find("Иванова")
        more = (Span(place, place + 7, "PER"),) if place >= 0 else ()
        found.append(replace(document, spans=tuple(sorted((*document.spans, *more)))))
    return found


def system(model: Path, **tuning: object) -> System:
    given = {"epochs": 40, "batch_tokens": 120, "max_length": 32, "learning_rate": 1e-2, "evaluations": 1, **tuning}
    return System(name="spans", model=str(model), nested=True, width=4, tuning=given)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> SpanTagger:
    folder = tmp_path_factory.mktemp("spans")
    wanted = system(checkpoint(folder / "tiny", "bert"))
    tagger = new_span_tagger(wanted, LABELS, nested(), overlap=8, seed=0)
    fit_tagger(tagger, wanted, Material(nested(), nested(), [], None, folder), folder / "run", seed=0)
    return tagger


def test_what_was_learned_is_found_inside_other_entities_too(trained: SpanTagger) -> None:
    found = trained.tag([one.text for one in nested()])
    assert exact_f1(nested(), found) > 0.95
    assert trained.nested and trained.overlaps == "nested"
    inner = [span for spans in found for span in spans if any(_within(span, other) for other in spans)]
    assert inner and all(span.label == "PER" for span in inner)


def _within(span: Span, other: Span) -> bool:
    return other.start <= span.start and span.end <= other.end and other.end - other.start > span.end - span.start


def test_a_saved_tagger_says_the_same(trained: SpanTagger, tmp_path: Path) -> None:
    step = Step(command="finetune", config={}, inputs={}, seed=0, seconds=0.0, summary={})
    save_tagger(trained, tmp_path / "out", step, [])
    loaded = load_tagger(tmp_path / "out")
    texts = [one.text for one in documents()] + ["", "Без имён."]
    assert isinstance(loaded, SpanTagger)
    assert loaded.tag(texts) == trained.tag(texts)
    assert loaded.describe()["kind"] == "spans"


def test_long_texts_are_read_in_windows_that_see_beyond_their_own_words(trained: SpanTagger) -> None:
    one = nested()[1]
    alone = trained.tag([one.text])[0]
    windows = trained.features.windows(one.text * 3, trained.features.split(one.text * 3))
    assert len(windows) > 1
    owned = [(window.first, window.stop) for window in windows]
    assert owned[0][0] == 0 and all(before[1] == after[0] for before, after in itertools.pairwise(owned))
    for window in windows[:-1]:
        assert len(window.fields["positions"]) > window.stop - window.first  # a span may end in what comes after
        assert window.fields["starts"].sum() == window.stop - window.first
    repeated = trained.tag([f"{one.text} " * 6])[0]
    assert {one.text[span.start : span.end] for span in alone} <= {
        (f"{one.text} " * 6)[span.start : span.end] for span in repeated
    }


def test_scores_are_the_formula() -> None:
    torch.manual_seed(0)
    head = SpanScores(8, 3, width=2, hidden=5, dropout=0.0).eval()
    head.types.copy_(torch.randn(3, 8))
    hidden = torch.randn(1, 4, 8)
    scores = head(hidden, {})
    a, b, c, bias = (head.described(head.types) + head.offsets).split([5, 5, 5, 1], -1)
    gelu = torch.nn.functional.gelu
    first, last = gelu(head.first(hidden[0])), gelu(head.last(hidden[0]))
    for i, m, t in [(0, 0, 0), (1, 1, 2), (2, 1, 1)]:
        pair = first[i] * last[i + m] + head.widths[m]
        wanted = (a[t] @ pair + b[t] @ first[i] + c[t] @ last[i + m]) * 5**-0.5 + bias[t, 0]
        assert torch.allclose(scores[0, i, m, t], wanted, atol=1e-5)


def test_descriptions_in_the_batch_and_stored_ones_give_equal_scores(trained: SpanTagger) -> None:
    examples = span_examples(nested()[:2], trained, {})  # type: ignore[arg-type]
    batch = span_collate(trained)(examples)
    trained.refresh()
    with torch.no_grad():
        told = trained.model(batch)
        plain = trained.model(
            {name: batch[name][: len(examples)] for name in ("input_ids", "attention_mask", "positions")}
        )
    assert torch.allclose(told, plain, atol=1e-4)


def test_targets_are_the_gold_spans_of_the_own_words(trained: SpanTagger) -> None:
    counts: dict[str, int] = {}
    from collections import Counter

    counts = Counter()
    wide = replace(nested()[0], spans=(Span(0, len(nested()[0].text), "ORG"),))
    examples = span_examples([*nested(), wide], trained, counts)  # type: ignore[arg-type]
    assert [name for name in counts if "more than 4 words" in name]
    batch = span_collate(trained)(examples)
    gold, valid = targets(batch, trained.model(batch).shape)
    assert gold.sum() == sum(len(document.spans) for document in nested())
    assert not (gold.bool() & ~valid[..., None]).any()
    assert (batch["gold"][..., 0] != NO_SPAN).sum() == gold.sum()


def test_rows_of_descriptions_hold_each_one_whole(capsys: pytest.CaptureFixture[str]) -> None:
    from tests.tiny.tokenizers import tokenizer

    tool = tokenizer("wordpiece")
    texts = ["город", "название организации", "имя человека"] * 5
    rows = DescriptionRows.of(tool, texts, longest=16)
    assert len(rows.ids) > 1 and all(len(row) <= 16 for row in rows.ids)
    long = "очень " * 30
    DescriptionRows.of(tool, [long], longest=16)
    assert "tokens: the first 12 are read" in capsys.readouterr().err
    for text, (row, first, after) in zip(texts, rows.places, strict=True):
        assert rows.ids[row][first:after] == tool.encode(text, add_special_tokens=False).ids[: after - first]
    with pytest.raises(SlonikError, match="holds no word"):
        DescriptionRows.of(tool, [" "])


def test_new_types_are_described_and_the_old_ones_stay(trained: SpanTagger) -> None:
    texts = [one.text for one in documents()]
    more = trained.described({"SHIP": "название корабля"})
    assert set(more.labels) == {*trained.labels, "SHIP"}
    before = [[span for span in spans if span.label != "SHIP"] for spans in more.tag(texts)]
    shared = sum(len(set(one) & set(other)) for one, other in zip(trained.tag(texts), before, strict=True))
    assert shared > 0  # where a new type is surer, an old span that crosses it goes
    alone = trained.described({"SHIP": "название корабля"}, alone=True)
    assert alone.labels == ("SHIP",)
    with pytest.raises(SlonikError, match="has PER already"):
        trained.described({"PER": "человек"})
    with pytest.raises(SlonikError, match="at least one"):
        trained.described({})
    for nameless in ("", " ", "A\tB"):
        with pytest.raises(SlonikError, match="has no name that a format can keep"):
            trained.described({nameless: "корабль"})
    with pytest.raises(SlonikError, match="the description of SHIP is 5: say in words"):
        trained.described({"SHIP": 5})  # type: ignore[dict-item]


def test_what_may_overlap_is_what_did() -> None:
    flat, inner, crossing = Span(0, 4, "A"), Span(1, 3, "A"), Span(3, 6, "B")
    assert overlaps_of([[flat], [inner]]) == "none"
    assert overlaps_of([[flat, inner]]) == "nested"
    assert overlaps_of([[flat, crossing]]) == "crossing"
    sure = [replace(flat, confidence=0.9), replace(inner, confidence=0.8), replace(crossing, confidence=0.95)]
    assert [span.label for span in settled(sure, "none")] == ["B"] or settled(sure, "none")[0].confidence is not None
    assert {(s.start, s.end) for s in settled(sure, "nested")} == {(1, 3), (3, 6)}
    assert len(settled(sure, "crossing")) == 3


def test_it_is_no_other_tagger(trained: SpanTagger, tmp_path: Path) -> None:
    from slonik.exporting.heads.run import _with_graph

    with pytest.raises(SlonikError, match="no ONNX graph"):
        _with_graph(trained.model)
    with pytest.raises(SlonikError, match="no text has this label"):
        model = str(checkpoint(tmp_path / "t", "bert"))
        wanted = System(name="n", model=model, nested=True, descriptions={"SHIP": "корабль"})
        new_span_tagger(wanted, LABELS, nested(), overlap=8, seed=0)
    assert np.isfinite([span.confidence for span in trained.tag(["Анна Смирнова"])[0]]).all()


def test_the_server_answers_spans_within_others(trained: SpanTagger) -> None:
    text = nested()[1].text
    with serving(trained) as url, httpx2.Client(base_url=url, timeout=20, trust_env=False) as client:
        answer = client.post("/tag", json={"input": [text]}).json()
    given = [(one["start"], one["end"], one["label"]) for one in answer["data"][0]["spans"]]
    assert given == [(one.start, one.end, one.label) for one in trained.tag([text])[0]]
    assert [(text[start:end], label) for start, end, label in given][-2:] == [
        ("Лаборатория Иванова", "ORG"), ("Иванова", "PER")
    ]  # fmt: skip


def test_the_lowest_layers_alone(tmp_path: Path) -> None:
    model = checkpoint(tmp_path / "tiny", "bert")
    whole = new_span_tagger(system(model), LABELS, nested(), overlap=8, seed=0).model.encoder.model
    wanted = system(model).model_copy(update={"layers": 1})
    cut = new_span_tagger(wanted, LABELS, nested(), overlap=8, seed=0).model.encoder.model
    assert whole.config.num_hidden_layers == 2 and cut.config.num_hidden_layers == 1
    ids = torch.arange(5, 12)[None]
    with torch.no_grad():
        kept, every = cut(ids).last_hidden_state, whole(ids, output_hidden_states=True).hidden_states
    assert torch.equal(kept, every[1]) and not torch.equal(kept, every[2])
    with pytest.raises(SlonikError, match=r"system.layers is 3, and .* has 2 layers: give 2 at most"):
        new_span_tagger(wanted.model_copy(update={"layers": 3}), LABELS, nested(), overlap=8, seed=0)
    with pytest.raises(ValueError, match="no use for layers"):
        System(name="crf", kind="crf", layers=2)
