"""Lists of names from outside the training texts: the user's own files, and names that unlabelled texts introduce.

A file has a name a line; a line that begins with # is a comment. Rules of spaCy (.jsonl with `label` and `pattern`) are
read where a pattern is a name, or words by their text. Russian names are given in the nominative, and looked
up in every case. A list helps every tagger alike: each of its names counts as one more document that marks it, beside
those of the training texts (`slonik.runtime.tagging.names`).

Names are found in unlabelled texts by the word before them: where the training texts have a name of one type after
"вирус" in nine of ten cases, a run of capitalised words after "вирус" elsewhere is taken to be of that type.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError
from slonik.data.annotations.document import Counts, Document
from slonik.data.annotations.tags import Offsets, tokenize, tokens_of
from slonik.runtime.tagging.names import Key
from slonik.tagging.inflection import Inflector
from slonik.text.lines import json_lines, numbered_lines

Names = Mapping[str, Sequence[str]]
"""Label -> names, in the nominative where they are Russian."""
_LEAST_SEEN = 5  # spans after a word that introduces names
_SURE = 0.9
_LONGEST_RUN = 4  # words
_LONGEST_NAME = 8
_TABLES = frozenset({".csv", ".tsv", ".json", ".xls", ".xlsx", ".parquet", ".yaml", ".yml"})


def read_gazetteers(
    files: Mapping[str, Sequence[str]], labels: Sequence[str], counts: Counts | None = None
) -> dict[str, list[str]]:
    """The names of each label's files, each once, in their order.

    Args:
        files: label -> files with a name a line.
        labels: that the tagger knows.
        counts: grows by what was left out: rules of labels that their file is not given for.

    Raises:
        SlonikError: a label that no training text has, a file that is missing, is not UTF-8, or holds no name.
    """
    found: dict[str, list[str]] = {}
    given = {
        path: {label for label, paths in files.items() if path in paths} for paths in files.values() for path in paths
    }
    told = Counts() if counts is None else counts
    for path, own in given.items():
        _count_other_rules(Path(path), own, told)
    for label, paths in files.items():
        if label not in labels:
            raise SlonikError(
                f"there is a gazetteer of {label!r}, and no training text has this label: {', '.join(labels)}"
            )
        names: dict[str, None] = {}
        for path in paths:
            names |= dict.fromkeys(_names_in(Path(path), label))
        if useless := sum(not _key(name) for name in names):
            told[f"names of {label} in gazetteers that are never found (one sign, or over {_LONGEST_NAME} words)"] += (
                useless
            )
        found[label] = list(names)
    return found


def _key(name: str) -> Key:
    """The words of a name in lower case; none for one that no list looks up."""
    key = tuple(name[start:end].lower() for start, end in tokenize(name))
    return key if len(key) <= _LONGEST_NAME and len("".join(key)) > 1 else ()


def _names_in(path: Path, label: str) -> list[str]:
    if not path.is_file():
        raise SlonikError(f"there is no gazetteer {path}: give a text file with a name a line")
    if _holds_rules(path):
        return _names_of_rules(path, label)
    if path.suffix.lower() in _TABLES:
        raise SlonikError(
            f"the gazetteer {path} is a table: give a text file with a name a line, or spaCy's rules (.jsonl)"
        )
    names = []
    for number, line in numbered_lines(path):
        name = line.strip()
        if "\t" in name:
            raise SlonikError(
                f"{path}, line {number}: {name[:60]!r} has a tab: a gazetteer has a name a line, nothing else"
            )
        if "\r" in name:
            raise SlonikError(
                f"{path}, line {number}: its lines end with CR alone, as on old Macs: give them line feeds"
            )
        if name.startswith("{") and '"pattern"' in name:
            raise SlonikError(
                f"{path}, line {number}: a rule of spaCy: call the file .jsonl, so that it is read as rules"
            )
        if name and not name.startswith("#"):
            names.append(name)
    if not names:
        raise SlonikError(f"the gazetteer {path} holds no name: give a text file with a name a line")
    return names


def _holds_rules(path: Path) -> bool:
    name = path.stem if path.suffix == ".gz" else path.name
    return Path(name).suffix.lower() in (".jsonl", ".ndjson")


def _names_of_rules(path: Path, label: str) -> list[str]:
    """The names that the rules of a label give.

    Raises:
        SlonikError: a line that is no rule, a pattern that is no name, no rule of this label.
    """
    names = []
    for where, row in json_lines(path):
        if not isinstance(row, dict) or "pattern" not in row or "label" not in row:
            raise SlonikError(f"{where}: no rule: each line is an object with label and pattern")
        if row["label"] != label:
            continue
        pattern = row["pattern"]
        if isinstance(pattern, str):
            names.append(pattern)
        elif not isinstance(pattern, list) or not pattern:
            raise SlonikError(f"{where}: the pattern {pattern!r} is neither a name nor a list of words")
        else:
            names.append(" ".join(_word_of(token, where) for token in pattern))
    if not names:
        raise SlonikError(f"no rule in {path} has the label {label}")
    return names


def _count_other_rules(path: Path, labels: Collection[str], counts: Counts) -> None:
    """Count the rules of a file of rules that have none of the labels which it is a gazetteer of."""
    if not _holds_rules(path) or not path.is_file():
        return
    for _, row in json_lines(path):
        if isinstance(row, dict) and "label" in row and row["label"] not in labels:
            counts[f"rules of {row['label']} in {path.name}, a gazetteer of {', '.join(sorted(labels))}, left out"] += 1


def _word_of(token: Any, where: str) -> str:
    if isinstance(token, dict) and len(token) == 1:
        word = next((value for key, value in token.items() if str(key).upper() in ("LOWER", "TEXT", "ORTH")), None)
        if isinstance(word, str):
            return word
    raise SlonikError(
        f"{where}: {token!r} is no plain word: a gazetteer holds names, so give LOWER, TEXT or ORTH alone"
    )


def gazetteer_keys(names: Names, inflector: Inflector | None = None) -> list[dict[Key, str]]:
    """Names as a `Gazetteer` counts them: one "document" a label, of lower-case words in every case.

    Args:
        inflector: None looks names up as they are written only.
    """
    found = []
    for label, own in names.items():
        keys: dict[Key, str] = {}
        for name in own:
            for form in inflector.forms(name) if inflector is not None else [name]:
                if key := _key(form):
                    keys[key] = label
        found.append(keys)
    return found


@dataclass(frozen=True)
class Introductions:
    """Which word, in lower case, stands before names of which label.

    Attributes:
        labels: word -> label.
    """

    labels: Mapping[str, str]

    @classmethod
    def of(cls, documents: Iterable[Document]) -> Introductions:
        """Words that five names or more follow, of which nine in ten have one label, and that are no names."""
        before: dict[str, Counter[str]] = defaultdict(Counter)
        for document in documents:
            words = tokenize(document.text)
            first = 0
            for span in sorted(document.spans):
                covered = tokens_of(span, words, first)
                first = covered.start
                if covered and covered.start:
                    start, end = words[covered.start - 1]
                    word = document.text[start:end]
                    if word.isalpha() and word.islower() and len(word) > 2:
                        before[word][span.label] += 1
        found = {}
        for word, counts in before.items():
            (label, count), total = counts.most_common(1)[0], sum(counts.values())
            if total >= _LEAST_SEEN and count >= _SURE * total:
                found[word] = label
        return cls(found)

    def names(self, texts: Iterable[str]) -> dict[str, list[str]]:
        """Label -> names that the texts introduce, the most frequent first; in the form in which they stand."""
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for text in texts:
            words = tokenize(text)
            for place, (start, end) in enumerate(words[:-1]):
                label = self.labels.get(text[start:end])
                if label is not None and (name := _run(text, words, place + 1)):
                    counts[label][name] += 1
        return {label: [name for name, _ in own.most_common()] for label, own in sorted(counts.items())}


def _run(text: str, words: Sequence[Offsets], first: int) -> str:
    """The capitalised words from `first` on, one space or nothing between them; "" where there are none."""
    after = first
    while after < len(words) and after - first < _LONGEST_RUN:
        start, end = words[after]
        gap = text[words[after - 1][1] : start]
        if gap not in ((" ",) if after == first else (" ", "")) or not text[start:end].isalnum():
            break
        if not (text[start].isupper() or (after > first and text[start].isdigit())):
            break
        after += 1
    name = text[words[first][0] : words[after - 1][1]] if after > first else ""
    return name if len(name) > 2 else ""


def merged(*lists: Names) -> dict[str, list[str]]:
    """The names of several lists, each once."""
    found: dict[str, dict[str, None]] = {}
    for one in lists:
        for label, names in one.items():
            found.setdefault(label, {}).update(dict.fromkeys(names))
    return {label: list(names) for label, names in found.items()}


def names_in_documents(documents: Iterable[Document]) -> dict[str, list[str]]:
    """Label -> the names that documents mark, as they are written, each once."""
    return merged(*_marked(documents))


def _marked(documents: Iterable[Document]) -> Iterator[Names]:
    for document in documents:
        for span in document.spans:
            yield {span.label: [document.text[span.start : span.end]]}
