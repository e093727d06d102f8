"""Another vocabulary for the same model: whole words added to a tokenizer, or a new tokenizer altogether.

Both give a tokenizer and, for each of its ids, the ids of the old one that mean the same; embeddings are made from
those (slonik.models.vocabulary). Added words are tokens of the model's own kind, not "added tokens" of the
library: WordPiece finds the longest token, Unigram gets a log-probability just above that of the word's old cut, BPE
gets the merges that build the word, last in rank. So other words are cut as before wherever the word is not in them;
with BPE, whose merges pass through the beginnings of the word, wherever its first two old tokens are not in them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer

from slonik.core.errors import SlonikError
from slonik.text.tokenizers.vocabulary import Vocabulary, read_vocabulary, renumber_processor
from slonik.text.tokenizing import without_limits

_MARGIN = 1e-4


@dataclass(frozen=True)
class ChangedVocabulary:
    """A tokenizer and where its tokens come from.

    Attributes:
        tokenizer: the new one.
        sources: for each id the old ids it stands for; empty where there are none.
    """

    tokenizer: Tokenizer
    sources: list[tuple[int, ...]]


def frequent_words(tokenizer: Tokenizer, texts: Iterable[str], count: int, *, min_frequency: int = 10) -> list[str]:
    """The words whose addition saves the most tokens of `texts`: frequency x (tokens - 1), at most `count`.

    Only words of letters (and inner hyphens) that are now cut into two tokens or more, each as this tokenizer meets it
    inside a text: in small letters where it forgets case, with the space in front where its tokens hold spaces
    (byte-level BPE). Words that it always parts (at the hyphen, in WordPiece) are left out.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        for word in text.split():
            word = word.strip(".,:;!?()[]{}«»\"'`…")
            if len(word) > 3 and word.replace("-", "").isalpha():
                counts[word] += 1
    plain = without_limits(tokenizer)
    space = " " if read_vocabulary(tokenizer).byte_level else ""
    forms: Counter[str] = Counter()
    for word, times in counts.items():
        if (form := _form_in_text(space + word, plain)) is not None:
            forms[form] += times
    gains: list[tuple[int, str]] = []
    for word, times in forms.items():
        if times >= min_frequency:
            tokens = len(_cut(plain, word))
            if tokens > 1:
                gains.append((times * (tokens - 1), word))
    return [word for _, word in sorted(gains, key=lambda item: (-item[0], item[1]))[:count]]


def add_words(tokenizer: Tokenizer, words: Sequence[str]) -> ChangedVocabulary:
    """`tokenizer` with whole words as tokens; ids of old tokens stay where the file's order allows.

    Args:
        words: as `frequent_words` gives them.

    Raises:
        SlonikError: tokens that lie behind the vocabulary would have to move, or the library refuses the result.
    """
    vocabulary = read_vocabulary(tokenizer)
    plain = without_limits(tokenizer)
    cuts = {word: tuple(_cut(plain, word)) for word in words}
    content = json.loads(tokenizer.to_str())
    model = content["model"]
    inside = [number for number in vocabulary.tokens if number not in set(vocabulary.outside)]
    order: list[tuple[int, ...]] = [(number,) for number in sorted(inside)]
    add = {"wordpiece": _add_wordpiece, "unigram": _add_unigram, "bpe": _add_bpe}[vocabulary.kind]
    add(model, vocabulary, cuts, order)
    moved = {old: len(order) + index for index, old in enumerate(sorted(vocabulary.outside))}
    order += [(old,) for old in sorted(vocabulary.outside)]
    for token in content["added_tokens"]:
        token["id"] = moved.get(token["id"], token["id"])
    renumber_processor(content.get("post_processor"), moved)
    try:
        made = Tokenizer.from_str(json.dumps(content, ensure_ascii=False))
    except Exception as error:  # the Rust library raises plain Exception
        raise SlonikError(f"these words cannot be added to the tokenizer ({error})") from None
    return ChangedVocabulary(made, order)


def replace_tokenizer(
    old: Tokenizer, new: Tokenizer, roles: Mapping[str, tuple[str | None, str | None]] | None = None
) -> ChangedVocabulary:
    """A wholly new tokenizer: equal tokens keep their meaning, the others are cut by the old tokenizer.

    Args:
        roles: role -> (old special token, new one), for special tokens with other names.
    """
    before, after = read_vocabulary(old), read_vocabulary(new)
    renamed = {to: was for was, to in (roles or {}).values() if was is not None and to is not None}
    known = {_spelling(number, before): number for number in before.tokens}
    specials, plain = set(after.specials), without_limits(old)
    sources: list[tuple[int, ...]] = []
    for number in range(after.size):
        token = after.tokens.get(number)
        if token is None:
            sources.append(())
        elif number in specials:
            found = old.token_to_id(renamed.get(token, token))
            sources.append(() if found is None else (found,))
        elif (same := known.get(_spelling(number, after))) is not None:
            sources.append((same,))
        else:
            surface = after.surface(number)
            cut = [] if not surface else [i for i in _cut(plain, surface) if i not in set(before.specials)]
            sources.append(tuple(cut))
    return ChangedVocabulary(new, sources)


def _form_in_text(word: str, plain: Tokenizer) -> str | None:
    """`word` after the normalizer; None where the tokenizer parts it before it looks for tokens."""
    if plain.normalizer is not None:
        word = plain.normalizer.normalize_str(word).lstrip("▁")
    if plain.pre_tokenizer is not None and len(plain.pre_tokenizer.pre_tokenize_str(word)) > 1:
        return None
    return word


def _cut(plain: Tokenizer, word: str) -> list[int]:
    return list(plain.encode(word, add_special_tokens=False).ids)


def _spelling(number: int, vocabulary: Vocabulary) -> tuple[bool, str]:
    """(whether the token begins a word, its text): the same for every kind of tokenizer; specials by their name."""
    token = vocabulary.tokens[number]
    if number in vocabulary.specials:
        return False, f"special {token}"
    surface = vocabulary.surface(number)
    if surface is None:
        return False, f"bytes {token}"
    if vocabulary.byte_level:
        return token.startswith("Ġ"), surface
    if vocabulary.prefix:
        return not token.startswith(vocabulary.prefix), surface
    return token.startswith("▁"), surface


def _add_wordpiece(
    model: dict[str, Any], vocabulary: Vocabulary, cuts: dict[str, tuple[int, ...]], order: list[tuple[int, ...]]
) -> None:
    for word, cut in cuts.items():
        if word not in model["vocab"] and cut:
            model["vocab"][word] = len(order)
            order.append(cut)


def _add_unigram(
    model: dict[str, Any], vocabulary: Vocabulary, cuts: dict[str, tuple[int, ...]], order: list[tuple[int, ...]]
) -> None:
    present = {entry[0] for entry in model["vocab"]}
    for word, cut in cuts.items():
        token = "▁" + word
        if token not in present and cut and model.get("unk_id") not in cut:
            score = sum(float(model["vocab"][number][1]) for number in cut)
            model["vocab"].append([token, score + _MARGIN])
            order.append(cut)


def _add_bpe(
    model: dict[str, Any], vocabulary: Vocabulary, cuts: dict[str, tuple[int, ...]], order: list[tuple[int, ...]]
) -> None:
    for cut in cuts.values():
        if len(cut) < 2:
            continue
        left, ids = vocabulary.tokens[cut[0]], [cut[0]]
        for number in cut[1:]:
            right = vocabulary.tokens[number]
            ids.append(number)
            merged = left + right.removeprefix(vocabulary.prefix)
            if merged not in model["vocab"]:
                model["vocab"][merged] = len(order)
                order.append(tuple(ids))
                model["merges"].append([left, right] if _lists(model) else f"{left} {right}")
            left = merged


def _lists(model: dict[str, Any]) -> bool:
    return not model["merges"] or isinstance(model["merges"][0], list)
