"""Baselines against the libraries they stand on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from slonik import models
from slonik.core.errors import SlonikError
from slonik.core.protocols import Encoder
from slonik.data.natasha_package import has_natasha
from slonik.models.baselines import BASELINES
from slonik.models.names import BASELINE_NAMES
from tests import tiny


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("hashing_300", {"n_features": 300}),
        ("hashing_1000", {"n_features": 1000}),
        ("hashing_300_char", {"n_features": 300, "analyzer": "char", "ngram_range": (2, 6)}),
        ("hashing_1000_char", {"n_features": 1000, "analyzer": "char", "ngram_range": (2, 6)}),
    ],
)
def test_hashing_is_scikit_learns(name: str, options: dict[str, object]) -> None:
    from sklearn.feature_extraction.text import HashingVectorizer

    encoder = models.open_encoder(name)
    assert isinstance(encoder, Encoder)
    expected = HashingVectorizer(**options).transform(tiny.TEXTS).toarray()
    np.testing.assert_allclose(encoder.encode(tiny.TEXTS), expected, atol=1e-7)
    assert encoder.encode([]).shape == (0, encoder.dimension)
    assert encoder.describe()["weights_hash"] != models.open_encoder("navec").describe()["weights_hash"]


def test_navec_is_the_mean_of_known_words() -> None:
    if not has_natasha():
        pytest.skip("natasha's files are not installed")
    encoder = models.open_encoder("navec")
    table = encoder._navec  # type: ignore[attr-defined]
    vectors = encoder.encode(["Мама мыла раму.", "ъъъыыы", "", "слон"])
    expected = np.mean([table[word] for word in ("мама", "мыла", "раму", ".") if word in table], axis=0)
    np.testing.assert_allclose(vectors[0], expected, atol=1e-6)
    np.testing.assert_allclose(vectors[3], table["слон"], atol=1e-6)
    assert not vectors[1:3].any()
    assert encoder.encode([]).shape == (0, 300)


def test_names_and_makers_agree() -> None:
    assert tuple(BASELINES) == BASELINE_NAMES


@pytest.mark.parametrize("texts", ["слон", ["слон", None], [float("nan")]])
def test_what_is_no_list_of_texts_is_refused(texts: Any) -> None:
    with pytest.raises(SlonikError, match=r"list of texts|must be a string"):
        models.open_encoder("hashing_300").encode(texts)
