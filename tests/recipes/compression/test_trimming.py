"""Pieces are counted over the whole corpus, not over its first lines."""

from __future__ import annotations

from pathlib import Path

from slonik.recipes.compression.config import CorpusConfig
from slonik.recipes.compression.trimming import corpus_to_count


def test_a_sorted_corpus_is_counted_from_end_to_end(tmp_path: Path) -> None:
    lines = [f"строка {number}" for number in range(1000)]
    (tmp_path / "ru.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "pairs.tsv").write_text("\n".join(f"line {n}\tстрока {n}" for n in range(100)), encoding="utf-8")
    corpus = CorpusConfig(texts=(str(tmp_path / "ru.txt"),), pairs=(str(tmp_path / "pairs.tsv"),))
    counted = list(corpus_to_count(corpus, 300))
    assert counted[: len(lines) // 4] == lines[::4]
    assert counted[250:252] == ["line 0", "строка 0"]
    assert len(counted) == 250 + 200
