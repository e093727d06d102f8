"""What a compression draws from its corpus, and what it says of the rest."""

from __future__ import annotations

from pathlib import Path

from slonik.compression.config import CorpusConfig
from slonik.compression.corpus import draw, tell_sample


def test_what_is_too_short_too_long_or_not_there_is_told(tmp_path: Path) -> None:
    fitting = [f"Слон номер {number} пьёт воду." for number in range(300)]
    short = ["Слон.", "Два слона."]
    long = [" ".join(["слон"] * 30) + f" {number}." for number in range(3)] + ["я" * 250 + " пьёт " + "ю" * 250]
    file = tmp_path / "corpus.txt"
    file.write_text("\n".join(fitting + short + long), encoding="utf-8")
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("".join(f"The elephant drinks {n}\t{text}\n" for n, text in enumerate(fitting)) + "Yes.\tДа.\n")
    config = CorpusConfig(texts=(str(file),), pairs=(str(pairs),), train_texts=5000, train_pairs=9, held_out_share=0.2)
    counts = draw(config, 0, tmp_path)
    assert (counts["texts_shorter"], counts["texts_longer"]) == (2, 4)
    said: list[str] = []
    tell_sample(config, counts, said.append)
    assert said == [
        f"sampled {counts['texts']} sentences of 3 to 24 words and at most 400 characters, fewer than "
        "corpus.train_texts (5,000): there are no more",
        "left out 2 sentences that are shorter and 4 that are longer (corpus.min_words, corpus.max_words)",
        "sampled 9 pairs of 3 to 24 words and at most 400 characters",
        "left out 1 pairs that are shorter and 0 that are longer (corpus.min_words, corpus.max_words)",
    ]
    said.clear()
    few = config.model_copy(update={"train_texts": 150, "pairs": ()})
    file.write_text("\n".join(fitting), encoding="utf-8")
    tell_sample(few, draw(few, 0, tmp_path), said.append)
    assert said == ["sampled 150 sentences of 3 to 24 words and at most 400 characters"]
