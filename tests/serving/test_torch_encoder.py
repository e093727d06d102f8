"""A checkpoint served through torch, by its command line name: vectors, counts and lengths are the encoder's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from slonik import load
from slonik.cli import serve as command
from slonik.core.errors import SlonikError
from slonik.serving import ServedModel, ServeSettings
from tests.serving.conftest import Serve
from tests.tiny import models as tiny
from tests.tiny.texts import TEXTS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny-bert", "bert")


def test_vectors_and_counts(serve: Serve, folder: Path) -> None:
    encoder = load(folder)
    encoder.name = "tiny"
    client = serve(encoder)
    answer = client.post("/v1/embeddings", json={"model": "tiny", "input": TEXTS})
    got = np.array([item["embedding"] for item in answer.json()["data"]])
    assert np.allclose(got, encoder.encode(TEXTS), atol=1e-5)
    assert answer.json()["usage"]["total_tokens"] == sum(map(len, encoder.tokenize(TEXTS)))

    long = " ".join(TEXTS[:12])
    for policy in ("truncate", "average"):
        got = client.post("/v1/embeddings", json={"model": "tiny", "input": long, "long_texts": policy}).json()
        expected = encoder.encode([long], long_texts=policy)[0]
        assert np.allclose(got["data"][0]["embedding"], expected, atol=1e-5)
    refused = client.post("/v1/embeddings", json={"model": "tiny", "input": long, "long_texts": "refuse"})
    assert refused.status_code == 400

    spaced = client.post(
        "/v1/embeddings", json={"model": "tiny", "input": " " * 40_000 + TEXTS[0], "long_texts": "refuse"}
    )  # a limit is counted in tokens, and spaces are none
    assert np.allclose(spaced.json()["data"][0]["embedding"], encoder.encode(TEXTS[:1])[0], atol=1e-5)

    ids = [encoder.tokenizer.encode(TEXTS[0], add_special_tokens=False).ids]
    answer = client.post("/v1/embeddings", json={"model": "tiny", "input": ids}).json()
    assert np.allclose(answer["data"][0]["embedding"], encoder.encode(TEXTS[:1])[0], atol=1e-5)


def _invoke(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[list[ServedModel], ServeSettings]:
    """What the command would serve."""
    seen: list[tuple[list[ServedModel], ServeSettings]] = []
    monkeypatch.setattr("slonik.serving.run", lambda models, settings, ready: seen.append((models, settings)))
    app = typer.Typer()
    app.callback()(lambda: None)
    command.register(app)
    outcome = CliRunner().invoke(app, ["serve", *arguments])
    if outcome.exception is not None and not isinstance(outcome.exception, SystemExit):
        raise outcome.exception
    assert outcome.exit_code == 0, outcome.output
    return seen[0]


def test_the_command_names_models_by_their_folder(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("SLONIK_API_KEY", "key")
    models, settings = _invoke(monkeypatch, str(folder), "--port", "9000", "--max-queue", "7")
    assert [model.id for model in models] == ["tiny-bert"] and str(folder) in models[0].aliases
    assert settings == ServeSettings(port=9000, max_queue=7, api_key="key")


def test_a_model_that_does_not_exist_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SlonikError, match="no-such-model"):
        _invoke(monkeypatch, "no-such-model")
