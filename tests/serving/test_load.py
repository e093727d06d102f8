"""Sixty-four clients at once for a few seconds: no error, and every answer belongs to its question.

benchmarks/serve_load.py does the same for a minute on a real model.
"""

from __future__ import annotations

import asyncio
import random
import time

import httpx2
import numpy as np

from tests.serving.conftest import serving
from tests.serving.models import ToyEncoder
from tests.tiny.texts import TEXTS

_CLIENTS = 64
_SECONDS = 1.0


def test_no_answer_is_lost_or_swapped() -> None:
    encoder = ToyEncoder(seconds_per_text=0.0005)
    texts = [f"{text} {number}" for number in range(5) for text in TEXTS]
    expected = ToyEncoder().encode(texts)

    async def client(web: httpx2.AsyncClient, seed: int, end: float) -> int:
        rng = random.Random(seed)
        answered = 0
        while time.monotonic() < end:
            chosen = rng.sample(range(len(texts)), rng.choice([1, 1, 1, 2, 5]))
            asked = [texts[number] for number in chosen]
            answer = await web.post("/v1/embeddings", json={"model": "toy", "input": asked, "long_text": "average"})
            assert answer.status_code == 200, answer.text
            got = np.array([item["embedding"] for item in answer.json()["data"]], dtype=np.float32)
            assert np.allclose(got, expected[chosen], atol=1e-5)
            answered += 1
        return answered

    async def all_clients(url: str) -> list[int]:
        limits = httpx2.Limits(max_connections=_CLIENTS)
        async with httpx2.AsyncClient(base_url=url, timeout=60, trust_env=False, limits=limits) as web:
            end = time.monotonic() + _SECONDS
            return await asyncio.gather(*(client(web, seed, end) for seed in range(_CLIENTS)))

    with serving(encoder) as url:
        answered = asyncio.run(all_clients(url))
    assert min(answered) > 0
