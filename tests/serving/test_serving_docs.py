"""Every example of docs/serving.md, and that of docs/ner.md, runs as it is written, against a server of toy models."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.snippets import Block, blocks
from tests.serving.conftest import serving
from tests.serving.models import CapitalTagger, EchoDecoder, LengthClassifier, ToyEncoder

_DOCS = Path(__file__).resolve().parents[2] / "docs"
_ADDRESS = "http://127.0.0.1:8000"
_EXAMPLES = [
    block
    for page in ("serving.md", "ner.md")
    for block in blocks(_DOCS / page)
    if block.reason == "tests/serving/test_serving_docs.py"
]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server with the models that the pages name."""
    decoder = EchoDecoder()
    decoder.name = "gpt"
    topics, ranks = LengthClassifier("topics"), LengthClassifier("ranks", "number")
    with serving(ToyEncoder("small-ru"), decoder, CapitalTagger(), topics, ranks) as url:
        yield url


def test_the_page_has_examples() -> None:
    languages = [block.language for block in _EXAMPLES]
    assert languages.count("python") >= 3 and languages.count("console") >= 4
    assert (_DOCS / "serving.md").read_text(encoding="utf-8").count(_ADDRESS) >= 6


@pytest.mark.parametrize("block", _EXAMPLES, ids=lambda block: block.place)
def test_examples(url: str, block: Block) -> None:
    text = block.text.replace(_ADDRESS, url)
    if block.language == "console" and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    command = [sys.executable, "-c", text] if block.language == "python" else ["bash", "-euc", text]
    env = {**os.environ, "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() and '"error"' not in done.stdout
