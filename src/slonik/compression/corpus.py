"""The texts of a compression: sampled once, written down, and read back by every later step.

Training texts and held-out texts never share a sentence: which part a text belongs to is decided by its hash, and
that of a pair by its Russian side.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slonik.compression.altered_texts import WordForms, altered_copy, newspaper_words, substituted, twice_translated
from slonik.compression.config import CorpusConfig
from slonik.core.errors import SlonikError
from slonik.core.files import write_json, write_text
from slonik.core.hashing import derive_seed, sha256_texts
from slonik.core.identity import corpus_identity, file_identity
from slonik.core.run import Announce, Run, StepResult
from slonik.data.pairs import CATALOGUE_FORMATS, read_pairs
from slonik.data.readers import FORMATS, read_texts
from slonik.data.sampling import TextLimits, is_held_out, sample, sample_pairs, sample_sentences, text_hash
from slonik.models.baselines import navec_path

Pair = tuple[str, str]

_CHARACTERS = 400
"""The most of a sentence."""
_WORDS_FROM = 20_000
"""Texts whose words replace others in altered copies."""


@dataclass(frozen=True)
class CorpusSample:
    """Sampled texts.

    Attributes:
        texts: sentences to train on.
        pairs: (English, Russian) to train on.
        near: pairs of very similar texts of one language to train on.
        substituted: sentences to train on whose words were replaced.
        held_texts, held_pairs, held_near: sentences and pairs that no step trains on.
    """

    texts: list[str]
    pairs: list[Pair]
    held_texts: list[str]
    held_pairs: list[Pair]
    near: list[Pair] = field(default_factory=list)
    held_near: list[Pair] = field(default_factory=list)
    substituted: list[str] = field(default_factory=list)

    @property
    def hash(self) -> str:
        """Content hash of everything in the sample."""
        flat = itertools.chain.from_iterable(self.pairs + self.held_pairs + self.near + self.held_near)
        return sha256_texts(itertools.chain(self.texts, self.substituted, self.held_texts, flat))


def sampling_inputs(config: CorpusConfig, seed: int, run: Run) -> dict[str, Any]:
    """What decides the sample, for the step that draws it.

    Raises:
        SlonikError: a corpus or file of pairs that is not there.
    """
    inputs: dict[str, Any] = {
        "corpus": run.input("corpus", corpus_identity(config.texts, suffixes=FORMATS)),
        "sampling": config.model_dump(mode="json", exclude={"texts", "pairs", "max_tokens", "without_prefix"}),
        "seed": seed,
    }
    if config.pairs:
        inputs["pairs"] = run.input("pairs", corpus_identity(config.pairs, suffixes=(".tsv", *CATALOGUE_FORMATS)))
    if config.substituted_texts:
        inputs["newspaper"] = file_identity(navec_path())
    return inputs


def draw(config: CorpusConfig, seed: int, folder: Path) -> Mapping[str, Any]:
    """Sample the corpus files into `folder`; the summary says how much was found.

    Raises:
        SlonikError: no corpus, an empty one, or one with too few sentences to hold any out.
    """
    if not config.texts:
        raise SlonikError("there is no corpus: give files of text with --corpus")
    forms = WordForms(newspaper_words(navec_path())) if config.substituted_texts else None
    limits = TextLimits(min_words=config.min_words, max_words=config.max_words, max_characters=_CHARACTERS)
    files = list(config.texts)
    chosen: dict[str, Any] = {"seed": seed, "limits": limits, "held_out_share": config.held_out_share}
    held = _sentences(config, config.held_out_texts, held_out=True, **chosen)
    read: dict[str, Counter[str]] = {"texts": Counter(), "pairs": Counter()}
    texts = _sentences(config, config.train_texts, held_out=False, counts=read["texts"], **chosen)
    if len(held) < 20 or len(texts) < 100:
        raise SlonikError(
            f"the corpus {', '.join(files)} has {len(texts) + len(held)} different sentences of {config.min_words} to "
            f"{config.max_words} words; at least some 2,000 are needed to train and to hold some out"
        )
    pairs: list[Pair] = []
    held_pairs: list[Pair] = []
    if config.pairs and config.train_pairs:
        pairs = sample_pairs(
            read_pairs(list(config.pairs)), config.train_pairs, held_out=False, counts=read["pairs"], **chosen
        )
    if config.pairs and config.held_out_pairs:
        held_pairs = sample_pairs(read_pairs(list(config.pairs)), config.held_out_pairs, held_out=True, **chosen)
    near, held_near = _near(config, limits, texts, held, seed) if config.near_pairs else ([], [])
    replaced = [substituted(text, forms, seed) for text in texts[: config.substituted_texts]] if forms else []
    found = CorpusSample(texts, pairs, held, held_pairs, near, held_near, replaced)
    write_text(folder / "sample.jsonl", "".join(_lines(found)))
    counts = {name: len(items) for name, items in _parts(found).items()}
    write_json(folder / "counts.json", counts)
    lengths = {f"{name}_{side}": left[side] for name, left in read.items() for side in ("shorter", "longer")}
    return counts | lengths | {"hash": found.hash, "seed": derive_seed(seed, "corpus")}


def sampled(
    config: CorpusConfig, seed: int, run: Run, inputs: Mapping[str, Any], step: str = "corpus"
) -> tuple[CorpusSample, StepResult]:
    """The sample, drawn in a step of the run or found done; and the step. What is said of it is said each time.

    Args:
        inputs: what decides the step, those of `sampling_inputs` among them.

    Raises:
        SlonikError: what `draw` raises.
    """

    def work(folder: Path) -> Mapping[str, Any]:
        return draw(config, seed, folder)

    drawn = run.step(step, inputs, "sampling the corpus", work, code=["slonik.compression.corpus"])
    tell_sample(config, drawn.summary, run.announce)
    return read_sample(drawn.folder), drawn


def tell_sample(config: CorpusConfig, counts: Mapping[str, Any], announce: Announce) -> None:
    """Say what is trained on, and what of the files is not: too short, too long.

    Args:
        counts: the summary of `draw`.
    """
    limits = f"{config.min_words} to {config.max_words} words and at most {_CHARACTERS} characters"
    for name, what, most in (("texts", "sentences", config.train_texts), ("pairs", "pairs", config.train_pairs)):
        found, shorter, longer = counts[name], counts[f"{name}_shorter"], counts[f"{name}_longer"]
        if not (found or shorter or longer):
            continue
        fewer = ""
        if found < most:
            shares = name == "texts" and config.shares  # then one file alone may have had too few
            fewer = f", fewer than corpus.train_{name} ({most:,})" + ("" if shares else ": there are no more")
        announce(f"sampled {found:,} {what} of {limits}{fewer}")
        if shorter or longer:
            announce(
                f"left out {shorter:,} {what} that are shorter and {longer:,} that are longer "
                "(corpus.min_words, corpus.max_words)"
            )


def _sentences(config: CorpusConfig, count: int, **chosen: Any) -> list[str]:
    """`count` sentences at most, of all files together or of each file its share; each sentence once."""
    if not config.shares:
        return sample_sentences(read_texts(list(config.texts)), count, **chosen)
    total = sum(config.shares)
    quotas = [round(count * share / total) for share in config.shares]
    parts = [
        sample_sentences(read_texts([file]), quota, **chosen)
        for file, quota in zip(config.texts, quotas, strict=True) if quota
    ]  # fmt: skip
    return list({text_hash(text): text for part in parts for text in part}.values())


def read_sample(folder: Path) -> CorpusSample:
    """The sample that `draw` wrote."""
    parts: dict[str, list[Any]] = {name: [] for name in _parts(CorpusSample([], [], [], []))}
    with open(folder / "sample.jsonl", encoding="utf-8") as stream:
        for line in stream:
            part, content = json.loads(line)
            parts[part].append(tuple(content) if isinstance(content, list) else content)
    return CorpusSample(**parts)


def _near(
    config: CorpusConfig, limits: TextLimits, texts: list[str], held: list[str], seed: int
) -> tuple[list[Pair], list[Pair]]:
    """Near pairs to train on and held-out ones, which share no text with anything that is trained on.

    Two translations of one sentence first, then sentences with an altered copy up to the number asked for.
    """
    share = config.held_out_share
    pairs = twice_translated(read_pairs(list(config.pairs))) if config.pairs else iter(())
    fitting = [pair for pair in pairs if limits.allow(pair[0]) and limits.allow(pair[1])]
    # One side held out is enough to keep a pair from training; of those, only the wholly unseen are measured.
    unheld = [pair for pair in fitting if not any(is_held_out(text, share) for text in pair)]
    words = [word for text in texts[:_WORDS_FROM] for word in text.split()]
    train = sample(unheld, max(1, config.near_pairs // 2), seed=seed, key=lambda pair: pair[0])
    copies = (pair for pair in _altered(texts, words, seed) if not is_held_out(pair[1], share))
    train += itertools.islice(copies, config.near_pairs - len(train))
    known = {text_hash(text) for text in itertools.chain(texts, *train)}
    candidates = set(fitting).difference(unheld)
    held_near = [pair for pair in fitting if pair in candidates] + list(_altered(held[: len(held) // 2], words, seed))
    return train, [pair for pair in held_near if not any(text_hash(text) in known for text in pair)]


def _altered(texts: list[str], words: list[str], seed: int) -> Iterator[Pair]:
    for text in texts:
        copy = altered_copy(text, words, seed)
        if copy is not None:
            yield text, copy


def _parts(sample_: CorpusSample) -> dict[str, list[Any]]:
    return {
        "texts": sample_.texts, "pairs": sample_.pairs, "near": sample_.near, "substituted": sample_.substituted,
        "held_texts": sample_.held_texts, "held_pairs": sample_.held_pairs, "held_near": sample_.held_near,
    }  # fmt: skip


def _lines(sample_: CorpusSample) -> list[str]:
    parts = _parts(sample_)
    return [json.dumps([name, item], ensure_ascii=False) + "\n" for name, items in parts.items() for item in items]
