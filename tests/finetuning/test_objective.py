"""Losses of labelled tasks against plain numpy, and the teacher's term against its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from slonik.finetuning.objective import AnswerWords, Supervised, choice_loss
from slonik.models.generation import NOT_SCORED
from slonik.text.answers import probabilities


class Fixed(nn.Module):
    """Gives the outputs it was made with."""

    def __init__(self, outputs: Tensor) -> None:
        super().__init__()
        self.outputs = nn.Parameter(outputs)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.outputs


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_losses_of_labels_are_those_of_the_textbook() -> None:
    z = np.array([[2.0, -1.0, 0.5], [0.0, 0.3, -2.0]])
    outputs = torch.tensor(z)
    p = softmax(z)
    single = Supervised("single").of_outputs(outputs, {"label": torch.tensor([0, 2])})
    assert float(single.total) == pytest.approx(-np.mean(np.log([p[0, 0], p[1, 2]])))
    assert single.weight == 2.0
    y = np.array([[1.0, 0, 1], [0, 0, 1]])
    s = 1 / (1 + np.exp(-z))
    multi = Supervised("multi").of_outputs(outputs, {"label": torch.tensor(y)})
    assert float(multi.total) == pytest.approx(-np.mean(y * np.log(s) + (1 - y) * np.log(1 - s)), rel=1e-6)
    number = Supervised("number").of_outputs(outputs[:, :1], {"label": torch.tensor([1.0, 1.0])})
    assert float(number.total) == pytest.approx(np.mean([1.0, 1.0]))


def test_several_right_candidates_share_the_probability_and_none_counts_nothing() -> None:
    z = np.array([[1.0, 2.0, -1.0], [0.5, 0.1, 0.2], [3.0, 1.0, 0.0]])
    right = np.array([[1.0, 0, 1], [0, 1, 0], [0, 0, 0]])
    p = softmax(z)
    expected = -np.mean([np.log(p[0, 0] + p[0, 2]), np.log(p[1, 1])])
    assert float(choice_loss(torch.tensor(z), torch.tensor(right))) == pytest.approx(expected, rel=1e-6)


def test_the_teacher_of_ones_own_answers_is_agreed_with() -> None:
    z = torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.3, -2.0]])
    for target in ("single", "choice", "multi"):
        teacher = torch.from_numpy(probabilities(z.detach().numpy(), target, 2.0))
        batch = {"label": torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]), "teacher": teacher}
        objective = Supervised(target, teacher_weight=1.0, temperature=2.0)
        model = Fixed(z.clone())
        loss = objective.loss(model, batch)
        loss.total.backward()
        assert float(loss.total) == pytest.approx(0.0, abs=1e-6)
        assert float(model.outputs.grad.abs().max()) < 1e-6  # type: ignore[union-attr]


def test_the_teachers_term_is_t_squared_times_the_divergence() -> None:
    z, t, heat = np.array([[1.0, 0.0]]), np.array([[0.2, 0.8]]), 3.0
    q = softmax(z / heat)
    expected = heat**2 * float((t * np.log(t / q)).sum())
    objective = Supervised("single", teacher_weight=0.25, temperature=heat)
    loss = objective.of_outputs(torch.tensor(z), {"label": torch.tensor([1]), "teacher": torch.tensor(t)})
    assert float(loss.parts["teacher"]) == pytest.approx(expected, rel=1e-6)
    assert float(loss.total) == pytest.approx(0.25 * expected + 0.75 * -np.log(softmax(z)[0, 1]), rel=1e-6)


def test_words_are_scored_where_they_are_asked_for() -> None:
    logits = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[1, 2, NOT_SCORED, NOT_SCORED], [3, NOT_SCORED, 0, 5]])

    class Words(nn.Module):
        def forward(self, **_: Tensor) -> object:
            return type("Output", (), {"logits": logits})

    chances = np.log(softmax(logits.numpy()))
    plain = -np.mean([chances[0, 0, 1], chances[0, 1, 2], chances[1, 0, 3], chances[1, 2, 0], chances[1, 3, 5]])
    moved = -np.mean([chances[0, 0, 2], chances[1, 1, 0], chances[1, 2, 5]])
    assert float(AnswerWords(shifted=False).loss(Words(), {"labels": labels}).total) == pytest.approx(plain, rel=1e-5)
    assert float(AnswerWords(shifted=True).loss(Words(), {"labels": labels}).total) == pytest.approx(moved, rel=1e-5)
