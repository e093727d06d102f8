"""Hand features of words for a CRF: form, shape, affixes, morphology, word clusters, neighbours, lists of names.

What depends on the form of a word alone is computed once per different form. A feature is a string; a word has about
seventy. Features look at two words to each side, over the borders of sentences too, at the run of name-like words that
a word stands in, and at what stands before the same word elsewhere in the text. Nothing here knows labels.

After: Lafferty, McCallum, Pereira 2001; Ratinov & Roth 2009 (lists of names, the word's other occurrences).
"""

from __future__ import annotations

import functools
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from slonik.core.errors import MissingExtra
from slonik.data.annotations.tags import Offsets, tokenize
from slonik.runtime.tagging.names import Gazetteer, Key
from slonik.tagging.models.word_clusters import WordClusters

_NAME_KINDS = ("Name", "Surn", "Patr", "Geox", "Orgn", "Trad", "Abbr")
_LIKELY = 0.05  # score of an analysis below which its kind of name is not believed
# Kept at once; a text in which every word differs must not fill the memory.
_MOST_WORDS = 200_000
_MOST_FORMS = 30_000  # about 2.5 kB each
_INVISIBLE = re.compile("[\u0300\u0301\u00ad\u200c\u200d]")
_RUNS = re.compile(r"(.)\1+")
_LONGEST_WORD = 40  # letters that go into a feature
_DISTANCES = (-2, -1, 1, 2)
_BEFORE = 3  # words before other occurrences that become features
_EDGE = "<>"  # where a text begins or ends
_OPENING, _CLOSING = frozenset("«„“"), frozenset("»”")


class Analysis(NamedTuple):
    """What is known of a word; empty strings where nothing is."""

    lemma: str
    part: str
    case: str
    kinds: tuple[str, ...]
    known: bool


class Morphology:
    """Lemma, part of speech and kinds of names of single words, by pymorphy3.

    Nothing disambiguates: the likeliest analysis is taken, and the kinds of names (Surn, Geox, ...) that any likely one
    has. Words without Cyrillic letters are not looked up: the dictionary knows none of them.

    Raises:
        MissingExtra: pymorphy3 is not installed.
    """

    def __init__(self) -> None:
        try:
            import pymorphy3
        except ModuleNotFoundError as error:
            raise MissingExtra("a tagger over hand features", "ner", error.name) from None
        self._analyzer: Any = pymorphy3.MorphAnalyzer(lang="ru")

    def __call__(self, word: str) -> Analysis:
        """The analysis of a word in lower case, without stress accents."""
        if not any("\u0400" <= sign <= "\u04ff" for sign in word) or len(word) > 60:
            return Analysis(word, "", "", (), False)
        parses = self._analyzer.parse(word)
        best = parses[0]
        kinds = {kind for parse in parses if parse.score >= _LIKELY for kind in _NAME_KINDS if kind in parse.tag}
        return Analysis(
            lemma=best.normal_form,
            part=str(best.tag.POS or ""),
            case=str(best.tag.case or ""),
            kinds=tuple(sorted(kinds)),
            known=bool(best.is_known),
        )


class Form(NamedTuple):
    """What the form of a word says: about itself, and about a neighbour, by distance."""

    own: tuple[str, ...]
    near: Mapping[int, tuple[str, ...]]
    word: str
    lemma: str
    part: str
    shape: str
    group: str


@dataclass(frozen=True)
class Words:
    """A text divided into words.

    Attributes:
        text: the text.
        offsets: (start, end) of each word.
        forms: the form of each, shared between equal words.
        lower: each in lower case.
    """

    text: str
    offsets: list[Offsets]
    forms: list[Form]
    lower: list[str]


class HandFeatures:
    """Turns texts into features; keeps what it found of word forms.

    Args:
        clusters: groups of words of like meaning, if they are used.
    """

    def __init__(self, clusters: WordClusters | None = None) -> None:
        self._clusters = clusters
        self._analysis = functools.lru_cache(_MOST_WORDS)(Morphology())
        self._form = functools.lru_cache(_MOST_FORMS)(self._make)

    def words(self, text: str) -> Words:
        offsets = tokenize(text)
        forms = [self._form(text[start:end]) for start, end in offsets]
        return Words(text, offsets, forms, [form.word for form in forms])

    def _make(self, token: str) -> Form:
        plain = _INVISIBLE.sub("", token)[:_LONGEST_WORD] or token[:1]
        plain = plain.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair has no bytes for crfsuite
        lower = plain.lower()
        analysis = self._analysis(lower)
        long, short = shapes(plain)
        own = [f"w={lower}", f"l={analysis.lemma}", f"s={long}", f"h={short}", f"c={_script(plain)}"]
        own += [f"p{size}={lower[:size]}" for size in range(2, 5) if size < len(lower)]
        own += [f"x{size}={lower[-size:]}" for size in range(2, 5) if size < len(lower)]
        own += [f"k={kind}" for kind in analysis.kinds]
        own.append(f"t={analysis.part}|{analysis.case}|{'' if analysis.known else 'new'}")
        group = self._clusters(lower) if self._clusters else None
        fine, coarse = (str(group[0]), str(group[1])) if group else ("", "")
        if group:
            own += [f"gf={fine}", f"gc={coarse}", f"gh={coarse}|{short}"]
        near_always = [f"l={analysis.lemma}", f"h={short}", *([f"gc={coarse}"] if group else [])]
        near_close = [f"w={lower}", f"t={analysis.part}", *(f"k={kind}" for kind in analysis.kinds)]
        near_close += [f"gf={fine}"] if group else []
        near = {
            distance: tuple(f"{distance}{name}" for name in near_always + (near_close if abs(distance) == 1 else []))
            for distance in _DISTANCES
        }
        return Form(tuple(own), near, lower, analysis.lemma, analysis.part, short, coarse)

    def sequence(self, words: Words, first: int, after: int, context: Context) -> list[list[str]]:
        """Features of the words from `first` to before `after`, a list of strings each."""
        return [self._features(words, index, first, context) for index in range(first, after)]

    def _features(self, words: Words, index: int, first: int, context: Context) -> list[str]:
        forms = words.forms
        form = forms[index]
        features = list(form.own)
        for distance in _DISTANCES:
            place = index + distance
            if 0 <= place < len(forms):
                features += forms[place].near[distance]
            else:
                features.append(f"{distance}edge")
        left = forms[index - 1] if index else _NOTHING
        right = forms[index + 1] if index + 1 < len(forms) else _NOTHING
        features += (
            f"ww={left.lemma}|{form.word}",
            f"wv={form.word}|{right.lemma}",
            f"tt={left.part}|{form.part}|{right.part}",
            f"hh={left.shape}|{form.shape}|{right.shape}",
            f"lh={left.lemma}|{form.shape}",
            f"gl={left.group}|{form.group or form.shape}",
            f"gr={form.group or form.shape}|{right.group}",
        )
        if index == first:
            features.append("begins")
        if index and words.offsets[index - 1][1] == words.offsets[index][0]:
            features.append("joined")
        features += context.features(words, index)
        return features


@dataclass(frozen=True)
class Context:
    """What the whole text, and the lists, say of each word.

    Attributes:
        listed: per word what the list of names says, "" for nothing.
        quoted: per word whether it stands between quotation marks.
        runs: per word the run of name-like words that it stands in: (first word, after the last).
        before: word -> lemmas that stand before it in this text, the commonest first.
        said: of each outside source (lists, other taggers) what it says of each word, as a tag; "" for nothing.
    """

    listed: Sequence[str]
    quoted: Sequence[bool]
    runs: Sequence[tuple[int, int] | None]
    before: Mapping[str, Sequence[str]]
    said: Sequence[Sequence[str]] = ()

    @classmethod
    def of(
        cls,
        words: Words,
        gazetteer: Gazetteer,
        own: Mapping[Key, str] | None = None,
        said: Sequence[Sequence[str]] = (),
    ) -> Context:
        """The context of a text; `own` are the names that it gave to the list itself."""
        return cls(gazetteer.features(words.lower, own), _quoted(words), _runs(words), _before(words), said)

    def features(self, words: Words, index: int) -> list[str]:
        run = self.runs[index]
        found = _run_features(words, index, run) if run else []
        if self.quoted[index]:
            found.append("quoted")
        for distance in (-1, 0, 1):
            place = index + distance
            if 0 <= place < len(self.listed) and self.listed[place]:
                found.append(f"{distance}g={self.listed[place]}")
        if self.listed[index]:
            found.append(f"gs={self.listed[index]}|{words.forms[index].shape}")
        for number, tags in enumerate(self.said):
            for distance in (-1, 0, 1):
                place = index + distance
                if 0 <= place < len(tags) and tags[place]:
                    found.append(f"{distance}e{number}={tags[place]}")
            if tags[index]:
                found.append(f"es{number}={tags[index]}|{words.forms[index].shape}")
        found += [f"b={lemma}" for lemma in self.before.get(words.lower[index], ())]
        return found


def _quoted(words: Words) -> list[bool]:
    inside = straight = False
    found = []
    for start, _ in words.offsets:
        sign = words.text[start]
        if sign in _OPENING:
            inside = True
        elif sign in _CLOSING:
            inside = False
        elif sign == '"':
            straight = not straight
        found.append(inside or straight)
    return found


def _runs(words: Words) -> list[tuple[int, int] | None]:
    """Per word: (first word, after the last word) of its run; None outside one.

    A run is words with a capital, a Latin letter or a digit, one after the other, with the signs that join them.
    """
    count = len(words.forms)
    found: list[tuple[int, int] | None] = [None] * count
    index = 0
    while index < count:
        after = index
        while after < count and (_name_like(words.forms[after]) or (after > index and _joins(words, after))):
            after += 1
        if after > index:
            found[index:after] = [(index, after)] * (after - index)
        index = max(after, index + 1)
    return found


def _run_features(words: Words, index: int, run: tuple[int, int]) -> list[str]:
    """What stands before and after the run of a word, the run itself, and the word's place in it."""
    first, after = run
    left = words.forms[first - 1].lemma if first else _EDGE
    right = words.forms[after].lemma if after < len(words.forms) else _EDGE
    return [
        f"rb={left}",
        f"ra={right}",
        f"rf={words.lower[first]}",
        f"rl={words.lower[after - 1]}",
        f"rs={words.forms[first].shape}|{min(after - first, 6)}",
        f"rw={' '.join(words.lower[first : min(after, first + 60)])[:60]}",
        f"rp={min(index - first, 4)}|{min(after - index, 4)}",
    ]


def _name_like(form: Form) -> bool:
    return any(sign in "XAa0" for sign in form.shape)


def _joins(words: Words, index: int) -> bool:
    """Whether the sign at `index` joins two name-like words without a space: a dot of a version, a hyphen."""
    if index + 1 >= len(words.forms) or words.text[words.offsets[index][0]] not in "-./_&+:":
        return False
    return words.offsets[index - 1][1] == words.offsets[index][0] and (
        words.offsets[index][1] == words.offsets[index + 1][0] and _name_like(words.forms[index + 1])
    )


def _before(words: Words) -> dict[str, list[str]]:
    """For words that are written like names: lemmas before them, of content words only."""
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for index in range(1, len(words.forms)):
        form, left = words.forms[index], words.forms[index - 1]
        if form.shape[:1] in ("X", "A") and left.part in ("NOUN", "ADJF", "VERB", "INFN"):
            seen[form.word][left.lemma] += 1
    return {word: [lemma for lemma, _ in lemmas.most_common(_BEFORE)] for word, lemmas in seen.items()}


def shapes(word: str) -> tuple[str, str]:
    """(long, short) shape: X and x for Cyrillic capitals and small letters, A and a for others, 0 for digits."""
    signs = "".join(map(_sign, word[:12]))
    return signs, _RUNS.sub(r"\1", signs)


def _sign(sign: str) -> str:
    if sign.isdigit():
        return "0"
    if not sign.isalpha():
        return sign
    cyrillic = "\u0400" <= sign <= "\u04ff"
    if sign.isupper():
        return "X" if cyrillic else "A"
    return "x" if cyrillic else "a"


def _script(word: str) -> str:
    kinds = {_sign(sign).lower() for sign in word}
    return "".join(sorted(kind if kind in ("x", "a", "0") else "." for kind in kinds))


_NOTHING = Form((), {}, _EDGE, _EDGE, _EDGE, _EDGE, _EDGE)
