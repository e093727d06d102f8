"""Retrieval sets from plain corpora: headlines that ask for their articles, English sentences for their translations.

Writes folders in the form of BEIR (corpus.jsonl, queries.jsonl, qrels/train.tsv, dev.tsv, test.tsv) for
`slonik finetune --task rerank` and `slonik evaluate retrieval`; docs/retrieval.md has figures of both. Of an
article its beginning is taken; one whose headline or beginning is there twice is taken once, so that no query of one
split has its answer in another.

    python benchmarks/retrieval_news.py news_ru.txt.gz --out news
    python benchmarks/retrieval_news.py en_ru.tsv.gz --pairs 3000 --out translations
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path

SHARES = {"train": 0.6, "dev": 0.1, "test": 0.3}
HEADLINE, ARTICLE = (25, 150), 300
BEGINNING = 400
SENTENCE = (60, 300)


def lines(path: Path) -> list[str]:
    """Lines of a text file, packed or not."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as stream:
        return [line.rstrip("\n") for line in stream]


def articles(path: Path) -> Iterator[tuple[str, str]]:
    """(headline, beginning of its article): a short line without a full stop before a long one."""
    seen: set[str] = set()
    for headline, text in itertools.pairwise(lines(path)):
        short = HEADLINE[0] <= len(headline) <= HEADLINE[1] and headline[-1] not in ".!?:»…"
        keys = {headline.lower(), text[:100].lower()}
        if short and len(text) >= ARTICLE and not keys & seen:
            seen |= keys
            yield headline, text[:BEGINNING].rsplit(maxsplit=1)[0]


def translations(path: Path) -> Iterator[tuple[str, str]]:
    """(English, Russian) sentences."""
    seen: set[str] = set()
    for line in lines(path):
        english, russian, *_ = line.split("\t")
        keys = {english.lower(), russian.lower()}
        if all(SENTENCE[0] <= len(text) <= SENTENCE[1] for text in (english, russian)) and not keys & seen:
            seen |= keys
            yield english, russian


def write(pairs: list[tuple[str, str]], out: Path, seed: int) -> None:
    """The set's files; queries are split, all documents are in the corpus."""
    (out / "qrels").mkdir(parents=True)
    for name, place in (("queries", 0), ("corpus", 1)):
        texts = ({"_id": f"{name[0]}{number}", "text": pair[place]} for number, pair in enumerate(pairs))
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in texts)
        (out / f"{name}.jsonl").write_text(content, encoding="utf-8")
    order = random.Random(seed).sample(range(len(pairs)), len(pairs))
    start = 0
    for split, share in SHARES.items():
        end = start + round(share * len(pairs))
        rows = [f"q{number}\tc{number}\t1\n" for number in sorted(order[start:end])]
        (out / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(rows), encoding="utf-8")
        print(f"{split}: {len(rows)} queries")
        start = end


def main() -> None:
    """Read the options, write the set."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("corpus", type=Path)
    options.add_argument("--pairs", type=int, help="the corpus has columns English, Russian: take so many, drawn")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--out", type=Path, required=True)
    given = options.parse_args()
    if given.pairs:
        pairs = random.Random(given.seed).sample(list(translations(given.corpus)), given.pairs)
    else:
        pairs = list(articles(given.corpus))
    write(pairs, given.out, given.seed)


if __name__ == "__main__":
    main()
