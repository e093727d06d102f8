"""A blend of teachers: its cosines are those of the parts, centred, and few axes keep what the sample has."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from slonik.compression.blend import Blend, BlendPart, fit_blend
from slonik.core.errors import SlonikError
from slonik.models.baselines import HashingEncoder

TEXTS = [
    f"слон {number} идёт {'домой' if number % 2 else 'в лес'} мимо {number * 7 % 13} сосен" for number in range(60)
]


def cosines(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return units @ units.T


@pytest.fixture(scope="module")
def parts() -> list[NDArray[np.float32]]:
    random = np.random.default_rng(0)
    shared = random.normal(size=(200, 6))
    return [
        (shared @ random.normal(size=(6, size)) + 3.0 + 0.1 * random.normal(size=(200, size))).astype(np.float32)
        for size in (12, 20)
    ]


def test_cosines_are_the_weighted_mean_of_the_parts_cosines(parts: list[NDArray[np.float32]]) -> None:
    made = fit_blend(parts, (1.0, 0.5), centre=False)(parts)
    wanted = (cosines(parts[0]) + 0.25 * cosines(parts[1])) / 1.25
    np.testing.assert_allclose(cosines(made), wanted, atol=1e-5)


def test_a_centred_blend_spreads_its_cosines(parts: list[NDArray[np.float32]]) -> None:
    plain, centred = (fit_blend(parts, (1.0, 1.0), centre=centre)(parts) for centre in (False, True))
    assert cosines(plain).mean() > 0.5
    assert abs(cosines(centred).mean()) < 0.05


def test_every_vector_has_the_length_that_was_asked_for(parts: list[NDArray[np.float32]]) -> None:
    made = fit_blend(parts, (1.0, 0.7), scale=3.0, dimension=5)(parts)
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 3.0, rtol=1e-5)


def test_axes_that_keep_all_of_the_sample_change_no_cosine(parts: list[NDArray[np.float32]]) -> None:
    whole, few = (fit_blend(parts, (1.0, 0.7), dimension=dimension) for dimension in (None, 31))
    assert few.kept > 0.999
    np.testing.assert_allclose(cosines(few(parts)), cosines(whole(parts)), atol=0.01)
    assert fit_blend(parts, (1.0, 0.7), dimension=3).kept < few.kept


def test_a_text_of_which_a_part_knows_nothing_has_the_other_part(parts: list[NDArray[np.float32]]) -> None:
    fitted = fit_blend(parts, (1.0, 1.0))
    nothing = [parts[0][:1], np.zeros_like(parts[1][:1])]
    made = fitted(nothing)
    assert np.isfinite(made).all()
    assert np.linalg.norm(made) == pytest.approx(1.0, rel=1e-5)


def test_as_an_encoder_it_gives_the_same_as_by_hand() -> None:
    encoders = [HashingEncoder("a", 32), HashingEncoder("b", 48, analyzer="char", ngram_range=(2, 3))]
    own = [BlendPart(encoders[0], 1.0), BlendPart(encoders[1], 0.7, prefix="")]
    vectors = [encoder.encode(TEXTS) for encoder in encoders]
    blend = Blend(own, fit_blend(vectors, (1.0, 0.7), dimension=16))
    np.testing.assert_allclose(blend.encode(TEXTS), blend.map(vectors), atol=1e-6)
    assert blend.dimension == blend.encode(TEXTS[:2]).shape[1] == 16
    other = Blend(own, fit_blend(vectors, (1.0, 0.8), dimension=16))
    assert blend.identity() != other.identity()


@pytest.mark.parametrize(
    ("weights", "options", "words"),
    [
        ((1.0, 0.0), {}, "weight or scale of a blend is 0"),
        ((1.0, -1.0), {}, "is -1"),
        ((1.0, float("nan")), {}, "is nan"),
        ((1.0, 1.0), {"scale": 0.0}, "is 0"),
        ((1.0, 1.0), {"dimension": 33}, "use 1 to 32"),
        ((1.0,), {}, "the same texts, and a weight"),
    ],
)
def test_what_makes_no_blend_is_refused(
    parts: list[NDArray[np.float32]], weights: tuple[float, ...], options: dict[str, float], words: str
) -> None:
    with pytest.raises(SlonikError, match=words):
        fit_blend(parts, weights, **options)  # type: ignore[arg-type]


def test_vectors_of_another_width_are_refused(parts: list[NDArray[np.float32]]) -> None:
    with pytest.raises(SlonikError, match="dimensions for a blend of"):
        fit_blend(parts, (1.0, 1.0))([parts[1], parts[0]])
