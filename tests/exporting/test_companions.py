"""The files beside the graphs: the tokenizer for other clients cuts every text as before; the Dockerfile serves."""

from __future__ import annotations

from fnmatch import fnmatch

from slonik.core.version import __version__
from slonik.exporting.companions import portable
from tests import tiny
from tests.exporting.exported import exported

CHARACTERS = [chr(code) for code in range(1, 0x10000) if not 0xD800 <= code < 0xE000]


def test_nmt_becomes_replacements_with_the_same_tokens() -> None:
    before = tiny.tokenizer("unigram")
    after = portable(before)
    assert '"Nmt"' in before.to_str()
    assert '"Nmt"' not in after.to_str()
    for character in CHARACTERS:
        assert after.normalizer.normalize_str(f"а{character}б") == before.normalizer.normalize_str(f"а{character}б")
    for text in tiny.TEXTS:
        assert after.encode(text).ids == before.encode(text).ids


def test_other_tokenizers_are_left_as_they_are() -> None:
    for kind in ("wordpiece", "bpe"):
        tokenizer = tiny.tokenizer(kind)
        assert portable(tokenizer) is tokenizer


def test_dockerfile_serves_the_folder_as_an_ordinary_user() -> None:
    folder, _ = exported("bert")
    lines = (folder / "Dockerfile").read_text().splitlines()
    instructions = [line.split()[0] for line in lines if line and not line.startswith(("#", " "))]
    assert instructions[0] == "FROM"
    assert not any(":latest" in line for line in lines)
    assert "USER" in instructions
    assert instructions.index("USER") < instructions.index("CMD")
    assert '"serve"' in lines[-1]


def test_dockerfile_installs_a_wheel_that_lies_in_the_folder_and_needs_none() -> None:
    folder, _ = exported("bert")
    lines = (folder / "Dockerfile").read_text().splitlines()
    copied = next(line.split()[1:] for line in lines if line.startswith("COPY tokenizer.json"))
    install = next(line for line in lines if line.startswith("RUN pip install"))
    assert (folder / copied[0]).is_file()  # COPY fails where none of its sources is there
    assert fnmatch(f"slonik-{__version__}-py3-none-any.whl", copied[1])
    assert f"--find-links {copied[2].rstrip('/')} " in install and f"slonik[serve]=={__version__}" in install
    assert not any(fnmatch(copied[1], pattern) for pattern in (folder / ".dockerignore").read_text().split())
