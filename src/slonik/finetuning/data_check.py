"""What is wrong with labelled rows, found before any work: a count, an example, and what is done about it.

Looks at texts and labels as they are read; nothing is changed here, and no model is asked. What is done about a finding
is done by `own` (labels of one spelling) and by the split (rows of one text stay together).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from difflib import SequenceMatcher
from typing import Any

_MISSING = {"nan", "null", "none", "na", "n/a", "#n/a", "nil", "-", "—", "нет данных", "undefined"}
_DAMAGED = re.compile(
    r"\ufffd|(?:[ÐÑ][\x80-\xbf°-¿]){2}|(?:[РС][\u0400-\u040f\u0450-\u045f°-»]){3}|&(?:nbsp|quot|amp|lt|gt|#\d+);"
)
_LIKE = str.maketrans("ёaceopxykmhbt", "еасеорхукмнвт")
"""Latin letters that look like Cyrillic ones, of lower case."""
_LONG_LABELS = 200  # labels among which spelling mistakes are looked for
_SHOWN = 60


@dataclass(frozen=True)
class Finding:
    """One kind of dirt.

    Attributes:
        what: it, as "texts are empty".
        count, among: so many of so many.
        example: where, and what.
        done: what is done about it.
        serious: whether figures or labels hang on it, so that it is a warning.
    """

    what: str
    count: int
    among: int
    example: str
    done: str
    serious: bool = False

    def __str__(self) -> str:
        return f"{self.count:,} of {self.among:,} {self.what} ({self.example}): {self.done}"

    def line(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class CheckedRows:
    """Rows to look at.

    Attributes:
        name: of the file, for examples.
        texts: per row the texts of its columns.
        labels: per row its labels as they are spelled (one, several, none); empty where they are free texts or numbers.
        numbers: rows in the file, from 1.
    """

    name: str
    texts: Sequence[tuple[str, ...]]
    labels: Sequence[tuple[str, ...]]
    numbers: Sequence[int]

    def at(self, place: int, value: str) -> str:
        """A row for people."""
        shown = value if len(value) <= _SHOWN else value[:_SHOWN] + "..."
        return f"{self.name}, row {self.numbers[place]}: {shown!r}"


def check_rows(
    train: CheckedRows,
    valid: CheckedRows | None = None,
    *,
    spelled: Mapping[str, str] | None = None,
    too_long: Callable[[tuple[str, ...]], bool] | None = None,
) -> list[Finding]:
    """Everything that is found in rows to learn from and, where there are some, in rows to measure on.

    Args:
        spelled: label as it stands in the data -> as it is read.
        too_long: texts -> whether the model cuts them.
    """
    found: list[Finding] = []
    for rows in (train, *([] if valid is None else [valid])):
        found += _texts(rows, too_long)
        found += _spelled(rows, spelled or {})
    found += _near_labels(train, spelled or {})
    found += _duplicates(train, spelled or {})
    found += [] if valid is None else _overlap(train, valid)
    return found


def _texts(rows: CheckedRows, too_long: Callable[[tuple[str, ...]], bool] | None) -> Iterator[Finding]:
    two = bool(rows.texts) and len(rows.texts[0]) > 1
    tests: list[tuple[str, Callable[[tuple[str, ...]], str | None], str, bool]] = [
        ("rows have no text at all", lambda t: "" if not any(map(str.strip, t)) else None,
         "they are kept: a model can only give them the usual answer", True),
        ("rows have one of two texts empty",
         lambda t: next(filter(str.strip, t), "") if two and _half(t) else None, "they are kept as they are", True),
        ("rows have a text that says a value is missing", _missing, "they are kept as texts", True),
        ("rows have a text without a letter", _no_letter, "they are kept as they are", False),
        ("rows have a damaged text (wrong encoding, HTML)", _first(lambda x: bool(_DAMAGED.search(x))),
         "they are kept as they are", True),
        ("rows have white space around a text", _first(lambda x: bool(x.strip()) and x != x.strip()),
         "it is kept; most tokenizers pass over it", False),
    ]  # fmt: skip
    if too_long is not None:
        tests.append(("rows are longer than the model reads", lambda t: t[0] if too_long(t) else None,
                      "their ends are cut (--max-length)", True))  # fmt: skip
    for what, test, done, serious in tests:
        hits = [(place, hit) for place, texts in enumerate(rows.texts) if (hit := test(texts)) is not None]
        if hits:
            yield Finding(f"{what}", len(hits), len(rows.texts), rows.at(*hits[0]), done, serious)
    yield from _languages(rows)


def _half(texts: tuple[str, ...]) -> bool:
    empty = [not text.strip() for text in texts]
    return any(empty) and not all(empty)


def _first(test: Callable[[str], bool]) -> Callable[[tuple[str, ...]], str | None]:
    return lambda texts: next((text for text in texts if test(text)), None)


def _missing(texts: tuple[str, ...]) -> str | None:
    return next((text for text in texts if text.strip().lower() in _MISSING), None)


def _no_letter(texts: tuple[str, ...]) -> str | None:
    return next(
        (text for text in texts if text.strip() and not any(map(str.isalpha, text)) and _missing((text,)) is None), None
    )


def script_of(text: str) -> str:
    """The script that most letters of a text are of: "Cyrillic", "Latin", another one's name; "" without letters."""
    counts = Counter(unicodedata.name(sign, "?").split()[0].capitalize() for sign in text if sign.isalpha())
    return counts.most_common(1)[0][0] if counts else ""


def _languages(rows: CheckedRows) -> Iterator[Finding]:
    scripts = [script_of(" ".join(texts)) for texts in rows.texts]
    counts = Counter(script for script in scripts if script)
    for script, count in counts.most_common()[1:]:
        place = scripts.index(script)
        usual = counts.most_common(1)[0][0]
        example = rows.at(place, " ".join(rows.texts[place]))
        yield Finding(
            f"rows are in {script} letters, most are in {usual}", count, len(scripts), example, "they are kept"
        )


def _spelled(rows: CheckedRows, spelled: Mapping[str, str]) -> Iterator[Finding]:
    changed: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, labels in enumerate(rows.labels):
        for label in labels:
            if spelled.get(label, label) != label:
                changed[label, spelled[label]].append(place)
    for (given, read), places in changed.items():
        why = "with white space around it" if given.strip() == read else "another spelling of a number"
        example = f"{rows.name}, row {rows.numbers[places[0]]}: {given!r}"
        yield Finding(f"labels are {given!r}, {why}", len(places), len(rows.labels), example, f"read as {read!r}", True)
    odd = [
        (place, label)
        for place, labels in enumerate(rows.labels)
        for label in labels
        if label.strip().lower() in _MISSING
    ]
    if odd:
        yield Finding("labels say that a value is missing", len(odd), len(rows.labels), rows.at(*odd[0]),
                      "kept as a label of its own", True)  # fmt: skip


def label_key(label: str) -> str:
    """What labels share that may be meant to be one: letters of any case, ё as е, look-alikes, no punctuation."""
    plain = unicodedata.normalize("NFKC", label).lower().translate(_LIKE)
    return "".join(sign for sign in plain if sign.isalnum()) or label


def _near_labels(rows: CheckedRows, spelled: Mapping[str, str]) -> Iterator[Finding]:
    counts = Counter(spelled.get(label, label) for labels in rows.labels for label in labels)
    names = sorted(counts)
    pairs = (
        [(a, b) for n, a in enumerate(names) for b in names[n + 1 :] if _near(a, b)]
        if len(names) <= _LONG_LABELS
        else []
    )
    if pairs:
        shown = "; ".join(f"{a!r} ({counts[a]}) and {b!r} ({counts[b]})" for a, b in pairs[:10])
        yield Finding("labels are nearly equal to another", len({x for p in pairs for x in p}), len(names), shown,
                      "kept apart: make them one in the data if they are", True)  # fmt: skip


def _near(first: str, second: str) -> bool:
    """Equal but for case, spaces, punctuation, ё and look-alikes; or long words with a slip of a letter or two."""
    one, other = label_key(first), label_key(second)
    if one == other:
        return True
    if min(len(one), len(other)) < 6 or abs(len(one) - len(other)) > 1 or any(map(str.isdigit, one + other)):
        return False
    # words that begin differently are words of their own: "positive" and "negative", "важно" and "неважно"
    return one[:2] == other[:2] and SequenceMatcher(None, one, other).ratio() > 1 - 1.2 / min(len(one), len(other))


def text_key(texts: Sequence[str]) -> str:
    """What rows share that are the same but for case and spaces."""
    return "\n".join(" ".join(text.lower().split()) for text in texts)


def _duplicates(rows: CheckedRows, spelled: Mapping[str, str]) -> Iterator[Finding]:
    places: dict[str, list[int]] = defaultdict(list)
    for place, texts in enumerate(rows.texts):
        if any(map(str.strip, texts)):
            places[text_key(texts)].append(place)
    twice = [found for found in places.values() if len(found) > 1]
    if not twice:
        return
    again, second = sum(len(found) - 1 for found in twice), twice[0][1]
    example = rows.at(second, " | ".join(rows.texts[second]))
    yield Finding("rows repeat another", again, len(rows.texts), example, "kept, on one side of every split")
    if not rows.labels:
        return
    read = [tuple(sorted(spelled.get(label, label) for label in labels)) for labels in rows.labels]
    torn = [found for found in twice if len({read[place] for place in found}) > 1]
    if torn:
        first, second = torn[0][0], next(place for place in torn[0] if read[place] != read[torn[0][0]])
        shown = rows.at(first, " | ".join(rows.texts[first]))
        shown += f" is {', '.join(read[first])}, in row {rows.numbers[second]} {', '.join(read[second])}"
        yield Finding("rows have the text of another and another label", sum(map(len, torn)), len(rows.texts), shown,
                      "kept: nothing says which is right", True)  # fmt: skip


def _overlap(train: CheckedRows, valid: CheckedRows) -> Iterator[Finding]:
    whole = {text_key(texts) for texts in train.texts}
    same = [place for place, texts in enumerate(valid.texts) if text_key(texts) in whole]
    if same:
        yield Finding("rows to measure on are in the training data too", len(same), len(valid.texts),
                      valid.at(same[0], " | ".join(valid.texts[same[0]])),
                      "kept: they are answered from memory, and figures are too high by them", True)  # fmt: skip
    if not valid.texts or len(valid.texts[0]) < 2:
        return
    for column in range(len(valid.texts[0])):
        known = {text_key((texts[column],)) for texts in train.texts}
        places = [
            n for n, texts in enumerate(valid.texts) if text_key((texts[column],)) in known and n not in set(same)
        ]
        if places:
            example = valid.at(places[0], valid.texts[places[0]][column])
            what = f"rows to measure on share text {column + 1} with the training data"
            yield Finding(what, len(places), len(valid.texts), example, "kept", True)


def rare_labels(names: Sequence[Sequence[str]], most: int) -> dict[str, int]:
    """Label -> its rows, of labels with `most` rows or fewer."""
    counts = Counter(name for labels in names for name in labels)
    return {name: count for name, count in sorted(counts.items()) if count <= most}


def named(labels: Mapping[str, int], most: int = 20) -> str:
    """Labels with their rows for a sentence, the first of many."""
    shown = ", ".join(f"{name!r} ({count})" for name, count in list(labels.items())[:most])
    return shown + (f" and {len(labels) - most} more" if len(labels) > most else "")


def canonical_labels(labels: Sequence[str]) -> dict[str, str]:
    """Label as it stands -> as it is read: without spaces around it, one spelling for equal numbers ("1", "1.0").

    Of several spellings of a number the shortest is taken. A number that is spelled in one way keeps it.
    """
    stripped = {label: label.strip() for label in labels}
    numbers: dict[Decimal, set[str]] = defaultdict(set)  # exact: numbers of twenty digits may be told by their last
    for label in stripped.values():
        if re.fullmatch(r"[-+]?(0|[1-9]\d*)([.,]\d+)?", label):
            numbers[Decimal(label.replace(",", "."))].add(label)
    one = {label: min(found, key=lambda x: (len(x), x)) for found in numbers.values() for label in found}
    return {label: one.get(plain, plain) for label, plain in stripped.items()}
