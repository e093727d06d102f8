"""The loss at asked tokens: places found beforehand; entropy in parts equal to the whole one, with its gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from slonik.train.objectives import asked as module
from slonik.train.objectives.asked import ASKED, asked, vocabulary_loss, with_places
from slonik.train.objectives.masking import IGNORED


def test_states_and_labels_of_what_is_asked() -> None:
    hidden = torch.arange(12.0).view(2, 3, 2)
    labels = torch.tensor([[IGNORED, 5, IGNORED], [7, IGNORED, 9]])
    batch = with_places({"labels": labels})
    assert batch[ASKED].tolist() == [1, 3, 5]
    for given in (batch, {"labels": labels}):
        states, wanted = asked(hidden, given)
        assert states.equal(hidden[labels != IGNORED]) and wanted.tolist() == [5, 7, 9]


@pytest.mark.parametrize("most", [2**28, 40, 1])
def test_parts_give_loss_and_gradients_of_the_whole(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    head = nn.Linear(6, 10).double()
    states = torch.randn(13, 6, dtype=torch.float64, requires_grad=True)
    wanted = torch.randint(10, (13,))
    logits = head(states)
    whole = F.cross_entropy(logits.float(), wanted)
    expected = torch.autograd.grad(whole, [states, *head.parameters()])
    monkeypatch.setattr(module, "MOST_LOGITS", most)
    loss, accuracy = vocabulary_loss(head, states, wanted, 10, accuracy=True)
    torch.testing.assert_close(loss.double(), whole.double(), rtol=1e-6, atol=0)
    torch.testing.assert_close(accuracy, (logits.argmax(-1) == wanted).float().mean())
    found = torch.autograd.grad(loss, [states, *head.parameters()])
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)
