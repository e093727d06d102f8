"""Character layers: padding changes nothing, order matters, rows are reversed within their length."""

from __future__ import annotations

import pytest
import torch

from slonik.tagging.models.characters import character_layer, reverse_rows


def test_rows_are_reversed_within_their_length() -> None:
    values = torch.tensor([[1, 2, 3, 0], [4, 0, 0, 0], [5, 6, 7, 8]])
    lengths = torch.tensor([3, 1, 4])
    assert reverse_rows(values, lengths).tolist() == [[3, 2, 1, 0], [4, 0, 0, 0], [8, 7, 6, 5]]
    deep = torch.randn(3, 4, 2)
    assert torch.equal(reverse_rows(reverse_rows(deep, lengths), lengths), deep)


@pytest.mark.parametrize("kind", ["cnn", "lstm"])
def test_a_word_does_not_feel_the_padding_of_others(kind: str) -> None:
    torch.manual_seed(0)
    layer = character_layer(kind, 20, 10).eval()  # type: ignore[arg-type]
    word = torch.tensor([[3, 4, 5, 6]])
    padded = torch.tensor([[3, 4, 5, 6, 0, 0, 0, 0, 0], [7, 8, 9, 10, 11, 12, 13, 14, 15]])
    with torch.no_grad():
        assert layer(word).shape == (1, 10)
        assert torch.allclose(layer(word)[0], layer(padded)[0], atol=1e-6)
        assert not torch.allclose(layer(word), layer(word.flip(1)), atol=1e-3)


def test_cnn_divides_features_among_widths() -> None:
    assert character_layer("cnn", 9, 7)(torch.tensor([[2, 3]])).shape == (1, 7)
