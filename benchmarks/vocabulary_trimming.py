"""Rules for trimming the vocabulary side by side: pieces kept, held-out texts cut as before, growth in tokens.

    python benchmarks/vocabulary_trimming.py CORPORA_FOLDER [--lines 200000] [--counts FILE.npy] [--json FILE]

CORPORA_FOLDER holds ru_text.txt.gz, en_ru.tsv.gz and, as texts of a domain that is not counted, infosec_ru.txt.gz;
`--extra FILE` names further held-out texts. No benchmark's texts are read: rules are chosen on these alone.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from slonik.data.pairs import read_pairs
from slonik.data.readers import read_texts
from slonik.data.sampling import is_held_out, sample
from slonik.models.embedded import materialise
from slonik.text.tokenizers.fit import compare_cuts, count_tokens
from slonik.text.tokenizers.rules import TrimRules
from slonik.text.tokenizers.trim import trim_by_counts
from slonik.text.tokenizers.vocabulary import read_vocabulary

PREFIXES = ("query: ", "passage: ")
RULES: dict[str, TrimRules] = {
    "counts >= 3": TrimRules(mode="counts", min_count=3),
    "scripts, Latin >= 1": TrimRules(min_count=1),
    "scripts, Latin >= 2": TrimRules(min_count=2),
    "scripts, Latin >= 5": TrimRules(min_count=5),
    "scripts, Latin >= 10": TrimRules(min_count=10),
    "scripts, Latin >= 1, at most 41,000": TrimRules(max_pieces=41_000),
    "scripts, Latin >= 1, at most 37,835": TrimRules(max_pieces=37_835),
    "scripts, Latin >= 1, at most 35,300": TrimRules(max_pieces=35_300),
    "scripts, Latin >= 1, at most 30,000": TrimRules(max_pieces=30_000),
    "scripts, Latin >= 1, at most 25,000": TrimRules(max_pieces=25_000),
}


def counted_texts(folder: Path, lines: int) -> Iterator[str]:
    """Every k-th line and pair outside the held-out part: about `lines` Russian lines and as many pairs' sides."""
    for path, total in ((folder / "ru_text.txt.gz", 800_000),):
        yield from _strided(read_texts(path), max(total // lines, 1))
    pairs = read_pairs(folder / "en_ru.tsv.gz")
    for english, russian in itertools.islice(pairs, 0, None, max(2 * 488_000 // lines, 1)):
        if not is_held_out(russian):
            yield english
            yield russian


def _strided(texts: Iterator[str], step: int) -> Iterator[str]:
    return (text for text in itertools.islice(texts, 0, None, step) if not is_held_out(text))


def held_out_texts(folder: Path, extra: list[Path], size: int) -> dict[str, list[str]]:
    """Texts that were not counted, by kind."""
    russian = (text for text in read_texts(folder / "ru_text.txt.gz") if is_held_out(text))
    pairs = [pair for pair in read_pairs(folder / "en_ru.tsv.gz") if is_held_out(pair[1])]
    long = [english for english, _ in pairs if len(english.split()) >= 4]
    groups = {
        "Russian lines": sample(russian, size),
        "English sentences": sample(long, size),
        "security lines": sample(read_texts(folder / "infosec_ru.txt.gz"), size),
    }
    return groups | {path.name: sample(read_texts(path), size) for path in extra}


def main() -> None:
    """Count, trim by every rule, compare, print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lines", type=int, default=200_000)
    parser.add_argument("--held-out", type=int, default=3_000)
    parser.add_argument("--extra", type=Path, action="append", default=[])
    parser.add_argument("--counts", type=Path, help="keep the counts in this file and use them again")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    tokenizer = Tokenizer.from_file(str(materialise("multilingual-e5-small") / "tokenizer.json"))
    started = time.process_time()
    if options.counts and options.counts.exists():
        counts = np.load(options.counts)
    else:
        counts = count_tokens(tokenizer, counted_texts(options.folder, options.lines))
        if options.counts:
            np.save(options.counts, counts)
    print(f"counted {counts.sum():,} tokens in {time.process_time() - started:.0f} s of processor time")
    groups = held_out_texts(options.folder, options.extra, options.held_out)
    unknown_id = read_vocabulary(tokenizer).unknown
    rows = []
    print("| rule | pieces | " + " | ".join(f"{name}: identical, tokens" for name in groups) + " | unknown |")
    print("|---|---|" + "---|" * (len(groups) + 1))
    for name, rules in RULES.items():
        rules = rules.model_copy(update={"always_keep": PREFIXES})
        plan = trim_by_counts(tokenizer, rules, counts)
        pieces = plan.report
        cuts = {
            group: compare_cuts(tokenizer, plan.tokenizer, plan.token_ids, texts, unknown=unknown_id)["all"]
            for group, texts in groups.items()
        }
        cells = [f"{cut.identical_share:.1%}, {cut.token_growth:+.2%}" for cut in cuts.values()]
        unknown = max(cut.unknown_rate_after for cut in cuts.values())
        print(f"| {name} | {pieces.pieces_after:,} | " + " | ".join(cells) + f" | {unknown:.5%} |", flush=True)
        scripts = {script: count.after for script, count in pieces.scripts.items() if count.after}
        rows.append({"rule": name, "pieces": pieces.pieces_after, "scripts": scripts}
                    | {group: cut.model_dump() for group, cut in cuts.items()})  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps(rows, ensure_ascii=False, indent=1))


if __name__ == "__main__":
    main()
