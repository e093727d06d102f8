"""Which tokens of a vocabulary stay: by script, by how often a corpus uses them, and by how many may stay.

Does: turn `TrimRules` and counts into a set of ids, closed so that every kept BPE token can still be built.
Does not: count (see `fit`) or build the new tokenizer (see `trim`).
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from slonik.core.config import Config
from slonik.core.errors import SlonikError
from slonik.text.scripts import COMMON, script_of, script_of_character, scripts_of_languages
from slonik.text.tokenizers.vocabulary import Vocabulary

_RUSSIAN = frozenset("абвгдеёжзийклмнопрстуфхцчшщъыьэюя")


class TrimRules(Config):
    """What to keep of a vocabulary.

    Attributes:
        mode: `scripts`: the first language's script whole, all else by counts; `counts`: everything by counts.
        scripts: language codes (ru, en) or script names (cyrillic). Single characters of these scripts stay, and so
            do single characters that belong to no script: digits, punctuation, symbols.
        min_count: how often the corpus must use a token of any other kind.
        max_pieces: at most this many tokens in all: the tokens that the corpus uses least go first.
        always_keep: texts whose tokens must stay, for example the prefixes that the model is used with.
    """

    mode: Literal["scripts", "counts"] = "scripts"
    scripts: tuple[str, ...] = ("ru", "en")
    min_count: int = Field(default=1, ge=1)
    max_pieces: int | None = Field(default=None, ge=1)
    always_keep: tuple[str, ...] = ()


def token_scripts(vocabulary: Vocabulary) -> dict[int, str]:
    """The script of every token; `special` for special tokens and single bytes, `part` for parts of characters."""
    specials = set(vocabulary.specials)
    found: dict[int, str] = {}
    for token_id in vocabulary.tokens:
        surface = vocabulary.surface(token_id)
        if token_id in specials or vocabulary.is_byte(token_id):
            found[token_id] = "special"
        else:
            found[token_id] = "part" if surface is None else script_of(surface)
    return found


def choose_tokens(
    vocabulary: Vocabulary,
    rules: TrimRules,
    counts: NDArray[np.int64],
    extra: Collection[int] = (),
    scripts: Mapping[int, str] | None = None,
) -> set[int]:
    """The ids that stay.

    counts: (V,) how often the corpus uses each token.
    extra: ids that must stay (those of `rules.always_keep`).
    scripts: those of all tokens, where `token_scripts` has found them already.
    Raises SlonikError for an unknown language, and when `max_pieces` cannot be met; the sentence says how few can.
    """
    languages = scripts_of_languages(rules.scripts)
    whole = {languages[0], COMMON} if rules.mode == "scripts" else set()
    scripts = token_scripts(vocabulary) if scripts is None else scripts
    fixed = set(vocabulary.specials) | set(extra) | _needed(vocabulary, scripts, languages)
    kept = fixed | {i for i, script in scripts.items() if script in whole or counts[i] >= rules.min_count}
    _close(vocabulary, fixed)
    _close(vocabulary, kept)
    if rules.max_pieces is not None and len(kept) > rules.max_pieces:
        kept = _drop_rarest(vocabulary, kept, fixed, counts, rules.max_pieces)
    return kept


def _needed(vocabulary: Vocabulary, scripts: Mapping[int, str], languages: tuple[str, ...]) -> set[int]:
    """Tokens without which a text of the wanted languages could turn unknown: bytes and single characters."""
    wanted = {*languages, COMMON}
    needed = set()
    for token_id, script in scripts.items():
        surface = vocabulary.surface(token_id)
        if script == "special" or (script in wanted and surface is not None and len(surface) <= 1):
            needed.add(token_id)
    if vocabulary.kind == "unigram":
        # The penalty of an unknown character is ten below the lowest score: that token stays, so the penalty does.
        needed.add(min(vocabulary.tokens.keys() - set(vocabulary.outside), key=vocabulary.score))
    return needed


def _close(vocabulary: Vocabulary, kept: set[int]) -> None:
    """Add every part of every merge that makes a kept BPE token, down to single letters."""
    made_of: dict[int, list[int]] = {}
    for left, right, result in vocabulary.merges():
        made_of.setdefault(result, []).extend((left, right))
    waiting = list(kept)
    while waiting:
        parts = set(made_of.get(waiting.pop(), ())) - kept
        kept |= parts
        waiting.extend(parts)


def _drop_rarest(
    vocabulary: Vocabulary, kept: set[int], fixed: set[int], counts: NDArray[np.int64], size: int
) -> set[int]:
    """Drop droppable tokens, rarest first, until `size` are left; a part of a kept BPE token waits for that token.

    Tokens used equally often (most often: never) go by letters that Russian lacks, then by their trained score.
    """
    if len(fixed) > size:
        raise SlonikError(
            f"at most {size:,} tokens are allowed, but {len(fixed):,} must stay (special tokens, single characters "
            f"and tokens named to be kept): allow at least {len(fixed):,}"
        )
    merges = [merge for merge in vocabulary.merges() if merge[2] in kept]
    made_of: dict[int, list[int]] = {}
    users: dict[int, int] = {}
    for left, right, result in merges:
        made_of.setdefault(result, []).extend((left, right))
        users[left] = users.get(left, 0) + 1
        users[right] = users.get(right, 0) + 1
    uses = counts.copy()

    def key(token_id: int) -> tuple[int, bool, float]:
        return int(uses[token_id]), _russian_only(vocabulary, token_id), vocabulary.score(token_id)

    queue = [(key(i), i) for i in kept - fixed if not users.get(i)]
    heapq.heapify(queue)
    left_over = set(kept)
    while len(left_over) > size and queue:
        _, dropped = heapq.heappop(queue)
        left_over.remove(dropped)
        parts = made_of.get(dropped, ())
        for part in parts[:2]:
            uses[part] += uses[dropped]  # texts that used the dropped token will use its parts
        for part in _released(parts, users):
            if part not in fixed:
                heapq.heappush(queue, (key(part), part))
    return left_over


def _released(parts: Iterable[int], users: dict[int, int]) -> list[int]:
    """Count one use less of each part, and list those that nothing is made of any more."""
    free = []
    for part in parts:
        users[part] -= 1
        if users[part] == 0:
            free.append(part)
    return free


def _russian_only(vocabulary: Vocabulary, token_id: int) -> bool:
    """Whether all Cyrillic letters of the token are Russian ones."""
    surface = (vocabulary.surface(token_id) or "").lower()
    return all(letter in _RUSSIAN for letter in surface if script_of_character(letter) == "cyrillic")
