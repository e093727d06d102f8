"""The server does what its OpenAPI page says: schemathesis sends it what the page allows, and what it does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from slonik.serving import ServedModel, ServeSettings, create_app
from tests.serving.conftest import serving
from tests.serving.models import CapitalTagger, EchoDecoder, LengthClassifier, ToyEncoder

_SETTINGS = ServeSettings(api_key="key")
_KEY = {"Authorization": "Bearer key"}
_MODELS = (ToyEncoder(), EchoDecoder(), CapitalTagger(), LengthClassifier(), LengthClassifier("ranks", "number"))

schema = schemathesis.openapi.from_dict(
    create_app([ServedModel(model.name, model) for model in _MODELS], _SETTINGS).openapi()
)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server with a key and a model of each kind."""
    with serving(*_MODELS, settings=_SETTINGS) as url:
        yield url


@schema.parametrize()
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_the_server_keeps_to_its_page(case: schemathesis.Case, url: str) -> None:
    answer = case.call_and_validate(base_url=url, headers=_KEY)
    assert answer.status_code < 500
