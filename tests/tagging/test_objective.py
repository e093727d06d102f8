"""The loss of taggers equals its definition: gold, teacher, the mixture, padding, texts without gold."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from slonik.models.heads.crf import LinearChainCrf
from slonik.tagging.objective import NO_LABEL, TaggingObjective, labelled_examples
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
