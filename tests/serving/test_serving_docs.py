"""Every example of docs/serving.md runs as it is written, against a server of toy models."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.conftest import serving
from tests.serving.models import EchoDecoder, ToyEncoder

_PAGE = (Path(__file__).resolve().parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
_ADDRESS = "http://127.0.0.1:8000"


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", _PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server with the models that the page names."""
    decoder = EchoDecoder()
    decoder.name = "gpt"
    with serving(ToyEncoder("small-ru"), decoder) as url:
        yield url


def test_the_page_has_examples() -> None:
    assert len(_blocks("python")) >= 3 and len(_blocks("bash")) >= 3
    assert _PAGE.count(_ADDRESS) >= 6


@pytest.mark.parametrize("block", _blocks("python"))
def test_python_examples(url: str, block: str) -> None:
    env = {**os.environ, "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, "-c", block.replace(_ADDRESS, url)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("block", _blocks("bash"))
def test_curl_examples(url: str, block: str) -> None:
    env = {**os.environ, "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        ["bash", "-euc", block.replace(_ADDRESS, url)], capture_output=True, text=True, env=env, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() and '"error"' not in done.stdout
