"""Choose texts out of a corpus: limits, sentence splitting, exact deduplication, samples and the held-out part.

Does: everything by content hash, so that the choice is the same on every machine, does not depend on the order of
the corpus, and needs memory for the chosen texts only.
Does not: find near duplicates, detect languages, or read files (see `readers`).
"""

from __future__ import annotations

import hashlib
import heapq
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from slonik.core.errors import MissingExtra, SlonikError

T = TypeVar("T")
_HASH_RANGE = 1 << 64


@dataclass(frozen=True)
class TextLimits:
    """How long a text may be, in characters and in words (parts between white space); both ends are allowed."""

    min_characters: int = 1
    max_characters: int = 1_000
    min_words: int = 1
    max_words: int = 200

    def allow(self, text: str) -> bool:
        return self.beyond(text) is None

    def beyond(self, text: str) -> Literal["shorter", "longer"] | None:
        """On which side a text lies outside the limits; None within them."""
        words = len(text.split())
        if len(text) < self.min_characters or words < self.min_words:
            return "shorter"
        return "longer" if len(text) > self.max_characters or words > self.max_words else None


def normalised(text: str) -> str:
    """What decides that two texts are the same: their letters and digits, NFKC, case folded.

    A text without a letter or digit stands for itself.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(filter(str.isalnum, folded)) or folded.strip()


def text_hash(text: str, salt: str = "") -> int:
    """A 64-bit hash of the normalised text, different for every `salt`, equal on every machine."""
    content = f"{salt}\x1f{normalised(text)}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def is_held_out(text: str, share: float = 0.02) -> bool:
    """Whether `text` belongs to the held-out part of any corpus: about `share` of all texts do, always the same.

    Ask it of the Russian side of a translation pair: then no held-out pair has its sentence in a training text.
    """
    return text_hash(text, "held out") < share * _HASH_RANGE


class Sample(Generic[T]):
    """A growing stream's sample: at most `size` items with different keys, drawn evenly from all different keys.

    The items with the smallest hashes are kept (bottom-k sampling, Cohen 1997), so duplicates in the stream do not
    raise a text's chance, the order of the stream does not matter, and memory is `size` items. Samples of different
    sizes with one seed contain each other.

    Raises SlonikError when `size` is below 1.
    """

    def __init__(self, size: int, *, seed: int = 0, key: Callable[[T], str] = str) -> None:
        if size < 1:
            raise SlonikError(f"the sample size is {size}; it must be at least 1")
        self._size = size
        self._salt = f"sample {seed}"
        self._key = key
        self._heap: list[tuple[int, T]] = []
        self._kept: set[int] = set()

    def add(self, item: T) -> None:
        mark = text_hash(self._key(item), self._salt)
        full = len(self._heap) == self._size
        if mark in self._kept or (full and -mark <= self._heap[0][0]):
            return
        self._kept.add(mark)
        # Hashes in the heap differ, so the items themselves are never compared.
        if full:
            self._kept.discard(-heapq.heapreplace(self._heap, (-mark, item))[0])
        else:
            heapq.heappush(self._heap, (-mark, item))

    def items(self) -> list[T]:
        """The sample so far, in random order."""
        return [item for _, item in sorted(self._heap, key=lambda entry: -entry[0])]


def sample(items: Iterable[T], size: int, *, seed: int = 0, key: Callable[[T], str] = str) -> list[T]:
    """The `Sample` of a whole stream."""
    chosen = Sample[T](size, seed=seed, key=key)
    for item in items:
        chosen.add(item)
    return chosen.items()


def set_aside(texts: Iterable[str], held_out: Sample[str], share: float = 0.02) -> Iterator[str]:
    """The texts outside the held-out part (see `is_held_out`); those inside are offered to the sample `held_out`."""
    for text in texts:
        if is_held_out(text, share):
            held_out.add(text)
        else:
            yield text


def split_sentences(texts: Iterable[str], *, longer_than: int = 200) -> Iterator[str]:
    """Split texts with more than `longer_than` characters into sentences (razdel); shorter ones pass whole.

    Raises MissingExtra without razdel.
    """
    try:
        from razdel import sentenize
    except ImportError as error:
        raise MissingExtra("splitting texts into sentences", "train", "razdel") from error
    for text in texts:
        if len(text) <= longer_than:
            yield text
        else:
            yield from (sentence.text for sentence in sentenize(text))


def _within(texts: Iterable[str], limits: TextLimits, counts: Counter[str]) -> Iterator[str]:
    for text in texts:
        side = limits.beyond(text)
        counts[side or "within"] += 1
        if side is None:
            yield text


def _pairs_within(
    pairs: Iterable[tuple[str, str]], limits: TextLimits, counts: Counter[str]
) -> Iterator[tuple[str, str]]:
    for pair in pairs:
        sides = {limits.beyond(pair[0]), limits.beyond(pair[1])}
        counts["longer" if "longer" in sides else "shorter" if "shorter" in sides else "within"] += 1
        if sides == {None}:
            yield pair


def sample_sentences(
    texts: Iterable[str],
    size: int,
    *,
    seed: int = 0,
    limits: TextLimits = TextLimits(min_words=3, max_words=60, max_characters=400),
    held_out: bool | None = None,
    held_out_share: float = 0.02,
    counts: Counter[str] | None = None,
) -> list[str]:
    """A sample of different sentences: long texts split, limits kept.

    held_out: True for the held-out part alone, False for the rest alone, None for both (see `is_held_out`).
    counts: is told of every sentence read whether it is `within` the limits, `shorter` or `longer`.
    """
    sentences = _within(split_sentences(texts), limits, Counter() if counts is None else counts)
    if held_out is not None:
        sentences = (text for text in sentences if is_held_out(text, held_out_share) == held_out)
    return sample(sentences, size, seed=seed)


def sample_pairs(
    pairs: Iterable[tuple[str, str]],
    size: int,
    *,
    seed: int = 0,
    limits: TextLimits = TextLimits(min_words=3, max_words=60, max_characters=400),
    held_out: bool | None = None,
    held_out_share: float = 0.02,
    counts: Counter[str] | None = None,
) -> list[tuple[str, str]]:
    """A sample of translation pairs with different Russian sides, both sides within the limits.

    counts: is told of every pair read, as by `sample_sentences`; a pair is `longer` where a side is.
    """
    chosen = _pairs_within(pairs, limits, Counter() if counts is None else counts)
    if held_out is not None:
        chosen = (pair for pair in chosen if is_held_out(pair[1], held_out_share) == held_out)
    return sample(chosen, size, seed=seed, key=lambda pair: pair[1])
