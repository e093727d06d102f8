"""The loss of taggers equals its definition: gold, teacher, the mixture, padding, texts without gold."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from slonik.data.annotations.document import Document, Span
from slonik.data.annotations.tags import tokenize
from slonik.models.heads.crf import LinearChainCrf
from slonik.runtime.tagging.labels import BioLabels
from slonik.tagging.objective import (
    NO_LABEL,
    TaggingObjective,
    expected_entities,
    known_tags,
    labelled_examples,
    partial_likelihood,
)
from tests.tagging.models import toys

LABELS, WORDS = 5, 4
MASK = torch.tensor([[True, True, True, True], [True, True, False, False], [True, True, True, False]])
TAGS = torch.tensor([[1, 2, 0, 3], [0, 3, NO_LABEL, NO_LABEL], [NO_LABEL] * 4])  # the last text is unlabelled


class Fixed(nn.Module):
    """A model whose emissions are its parameter."""

    def __init__(self, *, crf: bool) -> None:
        super().__init__()
        self.head = nn.Module()
        self.head.crf = LinearChainCrf(LABELS, trainable=crf)
        torch.manual_seed(0)
        self.emissions = nn.Parameter(torch.randn(3, WORDS, LABELS))
        for parameter in self.head.parameters():
            nn.init.normal_(parameter)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.emissions


def batch(*, teacher: bool) -> dict[str, Tensor]:
    found = {"tags": TAGS, "word_mask": MASK, "input_ids": torch.zeros(3, WORDS, dtype=torch.long)}
    if teacher:
        generator = torch.Generator().manual_seed(1)
        found["teacher"] = torch.randn(3, WORDS, LABELS, generator=generator).softmax(-1)
    return found


def test_gold_alone_is_the_mean_cross_entropy_of_labelled_words_over_all() -> None:
    model = Fixed(crf=False)
    found = TaggingObjective().loss(model, batch(teacher=False))
    wanted = functional.cross_entropy(
        model.emissions.flatten(0, 1), TAGS.flatten(), ignore_index=NO_LABEL, reduction="sum"
    )
    assert torch.isclose(found.total, wanted / MASK.sum())
    assert found.weight == MASK.sum() and torch.isclose(found.parts["gold"], wanted.detach() / 6)


@pytest.mark.parametrize("crf", [False, True])
def test_mixture_counts_unlabelled_texts_for_the_teacher_alone(crf: bool) -> None:
    model, weight, temperature = Fixed(crf=crf), 0.3, 2.0
    given = batch(teacher=True)
    chain: LinearChainCrf = model.head.crf  # type: ignore[assignment]
    total = torch.zeros(())
    for row in range(3):
        length = int(MASK[row].sum())
        emissions, teacher = model.emissions[row : row + 1, :length], given["teacher"][row : row + 1, :length]
        whole = torch.ones(1, length, dtype=torch.bool)
        if crf:
            distilled = chain.divergence(emissions, teacher, whole, temperature).sum()
        else:
            soft = (teacher.log() / temperature).softmax(-1)
            distilled = functional.kl_div((emissions / temperature).log_softmax(-1), soft, reduction="sum")
        distilled = distilled * temperature**2
        if row == 2:
            total = total + distilled
            continue
        tags = TAGS[row : row + 1, :length]
        gold = (
            chain.negative_log_likelihood(emissions, tags, whole).sum()
            if crf
            else functional.cross_entropy(emissions[0], tags[0], reduction="sum")
        )
        total = total + (1 - weight) * gold + weight * distilled
    found = TaggingObjective(teacher_weight=weight, temperature=temperature).loss(model, given)
    assert torch.isclose(found.total, total / MASK.sum(), atol=1e-5)
    assert set(found.parts) == {"gold", "teacher"}


@pytest.mark.parametrize("crf", [False, True])
def test_padding_and_unlabelled_words_give_no_gradient(crf: bool) -> None:
    model = Fixed(crf=crf)
    TaggingObjective().loss(model, batch(teacher=False)).total.backward()
    assert model.emissions.grad is not None and torch.isfinite(model.emissions.grad).all()
    assert not model.emissions.grad[~MASK].any() and not model.emissions.grad[2].any()
    assert model.emissions.grad[0].any()


def test_a_student_that_says_what_the_teacher_says_has_no_loss() -> None:
    model = Fixed(crf=False)
    given = batch(teacher=False) | {"teacher": model.emissions.detach().softmax(-1)}
    given["tags"] = torch.full_like(TAGS, NO_LABEL)
    assert float(TaggingObjective(temperature=3.0).loss(model, given).total.detach()) == pytest.approx(0, abs=1e-5)


def test_a_window_that_begins_inside_an_entity_begins_one() -> None:
    tagger = toys.bilstm(window=5, overlap=0)
    examples = labelled_examples(toys.documents(), tagger.features, toys.LABELS)
    firsts = [int(example["tags"][0]) for example in examples]
    assert any(tag % 2 == 1 for tag in firsts) and not any(tag > 0 and tag % 2 == 0 for tag in firsts)


def test_an_annotation_in_part_is_the_likelihood_of_all_that_agrees_with_it() -> None:
    torch.manual_seed(0)
    chain = LinearChainCrf(5)
    with torch.no_grad():
        for value in chain.parameters():
            value.normal_()
    emissions = torch.randn(2, 4, 5, requires_grad=True)
    mask = torch.tensor([[True] * 4, [True, True, True, False]])
    tags = torch.tensor([[1, NO_LABEL, NO_LABEL, 0], [NO_LABEL, 3, NO_LABEL, NO_LABEL]])
    found = partial_likelihood(chain, emissions, tags, mask)
    for row, length in ((0, 4), (1, 3)):
        total = agreeing = 0.0
        for labels in itertools.product(range(5), repeat=length):
            one = torch.tensor([*labels, *[0] * (4 - length)])[None]
            score = chain.negative_log_likelihood(emissions[row : row + 1], one, mask[row : row + 1])
            chance = float((-score.detach()).exp())
            total += chance
            known = zip(labels, tags[row].tolist(), strict=False)
            agreeing += chance * all(wanted in (NO_LABEL, label) for label, wanted in known)
        assert total == pytest.approx(1, abs=1e-4)
        assert float(found[row].detach()) == pytest.approx(-math.log(agreeing), abs=1e-4)
    whole = tags.clamp(min=0)
    assert torch.allclose(
        partial_likelihood(chain, emissions, whole, mask),
        chain.negative_log_likelihood(emissions, whole, mask),
        atol=1e-4,
    )


@pytest.mark.parametrize("trainable", [False, True])
def test_the_expected_number_of_words_in_entities(trainable: bool) -> None:
    torch.manual_seed(1)
    chain = LinearChainCrf(5, trainable=trainable)
    emissions = torch.randn(2, 6, 5, requires_grad=True)
    mask = torch.arange(6)[None] < torch.tensor([6, 4])[:, None]
    found = expected_entities(chain, emissions, mask)
    expected = ((1 - chain.marginals(emissions, mask)[..., 0]) * mask).sum(-1)
    assert torch.allclose(found, expected, atol=2e-3)
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert emissions.grad is not None and float(emissions.grad[0, :, 0].sum()) < 0


def test_unknown_words_have_no_label_and_the_share_is_held() -> None:
    document = Document("a", "Иван и Пётр там", (Span(0, 4, "PER"),), unknown=((0, 11),))
    words = tokenize(document.text)
    assert known_tags(document, words, BioLabels(("PER",))).tolist() == [1, NO_LABEL, NO_LABEL, 0]

    class Held(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Module()
            self.head.crf = LinearChainCrf(3, trainable=False)
            self.emissions = nn.Parameter(torch.tensor([[[0.0, 5, 0]] * 4]))

        def forward(self, batch: object) -> torch.Tensor:
            return self.emissions

    batch = {"tags": torch.tensor([[1, NO_LABEL, NO_LABEL, 0]]), "word_mask": torch.ones(1, 4, dtype=torch.bool)}
    plain = TaggingObjective().loss(Held(), batch)
    held = TaggingObjective(entity_share=0.3).loss(Held(), batch)
    share = float((1 - Held().emissions.softmax(-1)[..., 0]).mean().detach())
    assert "share" not in plain.parts
    assert float(held.total.detach() - plain.total.detach()) == pytest.approx(10 * (share - 0.35), abs=1e-4)
    whole = {**batch, "tags": torch.tensor([[1, 0, 0, 0]])}
    assert float(TaggingObjective(entity_share=0.3).loss(Held(), whole).parts["share"]) == 0
