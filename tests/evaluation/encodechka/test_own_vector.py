"""A checkpoint with modules behind its pooling is scored on its own vector, beside the poolings of its token states."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from slonik import models
from slonik.evaluation.encodechka.embeddings import SentenceVectors
from slonik.text.pipeline import Dense, Pooling
from slonik.text.sentence_config import SentenceConfig
from tests import tiny


def test_what_the_folder_declares_is_the_vector_of_all_modules(tmp_path: Path) -> None:
    base = models.load(tiny.checkpoint(tmp_path / "model"), device="cpu")
    weight = np.random.default_rng(0).standard_normal((12, 32)).astype(np.float32)
    config = SentenceConfig((Pooling(("mean",)), Dense(weight)), max_length=64)
    encoder = models.TorchEncoder(base.model, base.tokenizer, config)
    vectors = SentenceVectors(encoder, None)
    vectors.prepare(tiny.TEXTS[:4])
    assert vectors.declared == "pipeline_norm"
    assert vectors.variants[:4] == ("cls", "mean", "pooler", "pipeline")
    np.testing.assert_allclose(vectors.get(tiny.TEXTS[:4], "pipeline"), encoder.encode(tiny.TEXTS[:4]), atol=1e-5)
    assert SentenceVectors(base, None).declared == "mean_norm"


def test_the_models_own_pooler_is_what_is_scored(tmp_path: Path) -> None:
    folder = tiny.checkpoint(tmp_path / "plain", sentence=False)
    encoder = models.load(folder, device="cpu", pooling="pooler")
    vectors = SentenceVectors(encoder, None)
    vectors.prepare(tiny.TEXTS[:4])
    assert vectors.declared == "pipeline_norm"
    np.testing.assert_allclose(
        vectors.get(tiny.TEXTS[:4], "pipeline_norm"), vectors.get(tiny.TEXTS[:4], "pooler_norm"), atol=1e-5
    )
