"""The texts that speed is measured on: our own hundred Russian sentences, encodechka's three hundred, or a file.

The hundred were written for this project (from a two-word request to a long newspaper sentence, 68 characters on
average) and may be used freely. Which texts were used is part of every record, by hash.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from slonik.core.errors import SlonikError
from slonik.data.readers import read_texts

ENCODECHKA_FILE = Path("encodechka") / "sentences_sample.txt"


def own_sentences() -> list[str]:
    """The hundred sentences that come with the package."""
    text = resources.files("slonik.evaluation.resources").joinpath("ru_sentences.txt").read_text(encoding="utf-8")
    return text.splitlines()


def bench_texts(file: Path | None = None, data_dir: Path | None = None, limit: int | None = None) -> list[str]:
    """Texts to measure on.

    Args:
        file: any corpus file; it wins over the others.
        data_dir: the data folder, for encodechka's sentences.
        limit: take the first so many.

    Raises:
        SlonikError: the file is not there, holds no text, or the data folder lacks encodechka's sentences.
    """
    if file is not None:
        texts = []
        for text in read_texts(file):
            texts.append(text)
            if limit is not None and len(texts) >= limit:
                break
    elif data_dir is not None:
        path = data_dir / ENCODECHKA_FILE
        if not path.is_file():
            raise SlonikError(f"there is no {path}: run slonik fetch encodechka --data-dir {data_dir}, or give --texts")
        texts = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    else:
        texts = own_sentences()
    if not texts:
        raise SlonikError(f"{file or data_dir} holds no text to measure on")
    return texts[:limit] if limit is not None else texts
