"""The texts of the compression story: sampled once, written down, and read back by every later step.

Training texts and held-out texts never share a sentence: which part a text belongs to is decided by its hash, and
that of a pair by its Russian side.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slonik.core.atomic import write_json, write_text
from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_texts
from slonik.core.seeds import derive_seed
from slonik.data.pairs import read_pairs
from slonik.data.readers import read_texts
from slonik.data.sampling import TextLimits, sample_pairs, sample_sentences
from slonik.recipes.compress_config import CorpusConfig

Pair = tuple[str, str]


@dataclass(frozen=True)
class CorpusSample:
    """Sampled texts.

    Attributes:
        texts: sentences to train on.
        pairs: (English, Russian) to train on.
        held_texts, held_pairs: sentences and pairs that no step trains on.
    """

    texts: list[str]
    pairs: list[Pair]
    held_texts: list[str]
    held_pairs: list[Pair]

    @property
    def hash(self) -> str:
        """Content hash of everything in the sample."""
        flat = itertools.chain.from_iterable(self.pairs + self.held_pairs)
        return sha256_texts(itertools.chain(self.texts, self.held_texts, flat))


def draw(config: CorpusConfig, seed: int, folder: Path) -> Mapping[str, Any]:
    """Sample the corpus files into `folder`; the summary says how much was found.

    Raises:
        SlonikError: no corpus, an empty one, or one with too few sentences to hold any out.
    """
    if not config.texts:
        raise SlonikError("there is no corpus: give files of text with --corpus")
    limits = TextLimits(min_words=config.min_words, max_words=config.max_words, max_characters=400)
    files = list(config.texts)
    chosen: dict[str, Any] = {"seed": seed, "limits": limits, "held_out_share": config.held_out_share}
    held = sample_sentences(read_texts(files), config.held_out_texts, held_out=True, **chosen)
    texts = sample_sentences(read_texts(files), config.train_texts, held_out=False, **chosen)
    if len(held) < 20 or len(texts) < 100:
        raise SlonikError(
            f"the corpus {', '.join(files)} has {len(texts) + len(held)} different sentences of {config.min_words} to "
            f"{config.max_words} words; at least some 2,000 are needed to train and to hold some out"
        )
    pairs: list[Pair] = []
    held_pairs: list[Pair] = []
    if config.pairs and config.train_pairs:
        pairs = sample_pairs(read_pairs(list(config.pairs)), config.train_pairs, held_out=False, **chosen)
    if config.pairs and config.held_out_pairs:
        held_pairs = sample_pairs(read_pairs(list(config.pairs)), config.held_out_pairs, held_out=True, **chosen)
    found = CorpusSample(texts, pairs, held, held_pairs)
    write_text(folder / "sample.jsonl", "".join(_lines(found)))
    counts = {"texts": len(texts), "pairs": len(pairs), "held_texts": len(held), "held_pairs": len(held_pairs)}
    write_json(folder / "counts.json", counts)
    return counts | {"hash": found.hash, "seed": derive_seed(seed, "corpus")}


def read_sample(folder: Path) -> CorpusSample:
    """The sample that `draw` wrote."""
    parts: dict[str, list[Any]] = {"texts": [], "pairs": [], "held_texts": [], "held_pairs": []}
    with open(folder / "sample.jsonl", encoding="utf-8") as stream:
        for line in stream:
            part, content = json.loads(line)
            parts[part].append(tuple(content) if isinstance(content, list) else content)
    return CorpusSample(**parts)


def _lines(sample: CorpusSample) -> list[str]:
    parts: dict[str, list[Any]] = {"texts": sample.texts, "pairs": sample.pairs}
    parts |= {"held_texts": sample.held_texts, "held_pairs": sample.held_pairs}
    return [json.dumps([name, item], ensure_ascii=False) + "\n" for name, part in parts.items() for item in part]
