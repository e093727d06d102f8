"""Every labeller on sentences whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slonik.data.conllu import Sentence, Unit, Word
from slonik.inspection.probing.labels import LABELLERS, refused

FIN = {"VerbForm": "Fin", "Mood": "Ind"}


def sentence(*rows: tuple[str, str, int, str, dict[str, str]], empty: int = 0) -> Sentence:
    """Rows: form, upos, head, relation, features; the lemma is the form in lower case."""
    words = tuple(
        Word(index, form, form.lower(), upos, feats, head, relation)
        for index, (form, upos, head, relation, feats) in enumerate(rows, 1)
    )
    units = tuple(Unit(word.form, (word.id, word.id)) for word in words)
    return Sentence(words, units, "", " ".join(word.form for word in words), empty)


def _simple(**changes: str) -> Sentence:
    verb = {**FIN, "Tense": "Past", "Aspect": "Perf", "Voice": "Act", "Number": "Sing", "Gender": "Fem", **changes}
    return sentence(
        ("Вчера", "ADV", 3, "advmod", {}),
        ("старшая", "ADJ", 4, "amod", {}),
        ("прочла", "VERB", 0, "root", verb),
        ("сестра", "NOUN", 3, "nsubj", {"Number": "Sing", "Gender": "Fem"}),
        ("длинные", "ADJ", 6, "amod", {}),
        ("письма", "NOUN", 3, "obj", {"Number": "Plur", "Gender": "Neut"}),
    )


@pytest.mark.parametrize(
    ("task", "label", "key"),
    [
        ("sent_len", "0", ""),
        ("subj_number", "Sing", "сестра"),
        ("obj_number", "Plur", "письма"),
        ("subj_gender", "Fem", "сестра"),
        ("predicate_tense", "Past", "прочла"),
        ("predicate_aspect", "Perf", "прочла"),
        ("predicate_voice", "Act", "прочла"),
    ],
)
def test_labels_of_a_simple_sentence(task: str, label: str, key: str) -> None:
    found = LABELLERS[task](_simple())
    assert found is not None
    assert (found.label, found.key) == (label, key)


def test_what_does_not_suit_is_left_out() -> None:
    assert LABELLERS["obj_gender"](_simple()) is None  # plural nouns show no gender
    assert LABELLERS["tree_depth"](_simple()) is None  # too flat
    assert LABELLERS["conj_type"](_simple()) is None
    assert LABELLERS["gapping"](_simple()) is None
    assert LABELLERS["predicate_tense"](_simple(Tense="Fut")) is None
    assert LABELLERS["predicate_voice"](_simple(Voice="Mid")) is None
    coordinated = sentence(
        ("Мама", "NOUN", 4, "nsubj", {"Number": "Sing"}),
        ("и", "CCONJ", 3, "cc", {}),
        ("папа", "NOUN", 1, "conj", {"Number": "Sing"}),
        ("пришли", "VERB", 0, "root", FIN),
        ("домой", "ADV", 4, "advmod", {}),
    )
    assert LABELLERS["subj_number"](coordinated) is None


def test_passive_without_a_voice_feature() -> None:
    english = sentence(
        ("The", "DET", 2, "det", {}),
        ("bridge", "NOUN", 4, "nsubj:pass", {"Number": "Sing"}),
        ("was", "AUX", 4, "aux:pass", FIN),
        ("built", "VERB", 0, "root", {"VerbForm": "Part"}),
        ("quickly", "ADV", 4, "advmod", {}),
    )
    found = LABELLERS["predicate_voice"](english)
    assert found is not None
    assert found.label == "Pass"


def test_two_clauses() -> None:
    def clauses(relation: str, joint: tuple[str, str, str]) -> Sentence:
        form, upos, link = joint
        return sentence(
            ("Дети", "NOUN", 2, "nsubj", {}),
            ("играли", "VERB", 0, "root", FIN),
            (form, upos, 5, link, {}),
            ("дождь", "NOUN", 5, "nsubj", {}),
            ("шёл", "VERB", 2, relation, FIN),
        )

    labels = [
        LABELLERS["conj_type"](clauses("conj", ("и", "CCONJ", "cc"))),
        LABELLERS["conj_type"](clauses("advcl", ("хотя", "SCONJ", "mark"))),
        LABELLERS["gapping"](clauses("conj", ("и", "CCONJ", "cc"))),
    ]
    assert [found.label if found else None for found in labels] == ["coordinate", "subordinate", "0"]


def test_impersonal_and_gapping() -> None:
    third = {**FIN, "Number": "Sing", "Person": "3", "Tense": "Pres"}
    without = sentence(
        ("Мне", "PRON", 3, "iobj", {}), ("не", "PART", 3, "advmod", {}), ("спится", "VERB", 0, "root", third),
        ("этой", "DET", 5, "det", {}), ("ночью", "NOUN", 3, "obl", {}),
    )  # fmt: skip
    found = LABELLERS["impersonal_sent"](without)
    assert found is not None
    assert found.label == "1"
    gap = sentence(
        ("Один", "PRON", 2, "nsubj", {}), ("спит", "VERB", 0, "root", third), ("а", "CCONJ", 4, "cc", {}),
        ("другой", "PRON", 2, "conj", {}), ("дома", "ADV", 4, "orphan", {}),
    )  # fmt: skip
    label = LABELLERS["gapping"](gap)
    assert label is not None
    assert label.label == "1"


PAST = {**FIN, "Number": "Sing", "Tense": "Past", "Gender": "Neut"}
PRES = {**FIN, "Number": "Sing", "Person": "3", "Tense": "Pres"}


@pytest.mark.parametrize(
    ("rows", "label"),
    [
        ([("Второй", "ADJ", 2, "amod", {}), ("раз", "NOUN", 3, "obl", {"Case": "Acc"}),
          ("ошибётся", "VERB", 0, "root", PRES)], None),  # he, who was named before
        ([("глядит", "VERB", 0, "root", PRES), ("на", "ADP", 3, "case", {}), ("нас", "PRON", 1, "obl", {})], None),
        ([("боится", "VERB", 0, "root", PRES), ("сказать", "VERB", 1, "xcomp", {"VerbForm": "Inf"})], None),
        ([("приняло", "VERB", 0, "root", PAST), ("закон", "NOUN", 1, "obj", {"Case": "Acc"})], None),
        ([("везёт", "VERB", 0, "root", PRES), ("груз", "NOUN", 1, "obj", {"Case": "Acc"})], None),
        ([("светает", "VERB", 0, "root", PRES)], None),  # the lemma is not given: светать
        ([("Крым", "PROPN", 2, "obj", {"Case": "Acc"}), ("засыпало", "VERB", 0, "root", PAST),
          ("снегом", "NOUN", 2, "obl", {"Case": "Ins"})], "1"),
        ([("стало", "VERB", 0, "root", PAST), ("известно", "ADJ", 1, "xcomp", {"Variant": "Short", "Gender": "Neut"})],
         None),  # the lemma again
        ([("Ему", "PRON", 2, "iobj", {"Case": "Dat"}), ("работалось", "VERB", 0, "root", PAST)], "1"),
        ([("Утро", "NOUN", 2, "nsubj", {}), ("настало", "VERB", 0, "root", PAST)], "0"),
    ],
)  # fmt: skip
def test_a_sentence_whose_subject_is_left_out_is_not_impersonal(
    rows: list[tuple[str, str, int, str, dict[str, str]]], label: str | None
) -> None:
    found = LABELLERS["impersonal_sent"](sentence(*rows))
    assert (found.label if found else None) == label


@pytest.mark.parametrize(
    ("lemma", "rest", "label"),
    [
        ("светать", [], "1"),
        ("хотеться", [], "1"),
        ("следовать", [("признать", "VERB", 1, "xcomp", {"VerbForm": "Inf"})], "1"),
        ("следовать", [("за", "ADP", 3, "case", {}), ("ним", "PRON", 1, "obl", {"Case": "Ins"})], None),
        ("повезти", [("мне", "PRON", 1, "iobj", {"Case": "Dat"})], "1"),
        ("хватать", [("денег", "NOUN", 1, "obj", {"Case": "Gen"})], "1"),
        ("хватать", [("руку", "NOUN", 1, "obj", {"Case": "Acc"})], None),
        ("стать", [("известно", "ADJ", 1, "xcomp", {"Variant": "Short", "Gender": "Neut"})], "1"),
        ("стать", [("врачом", "NOUN", 1, "xcomp", {"Case": "Ins"})], None),
    ],
)
def test_verbs_without_a_subject(
    lemma: str, rest: list[tuple[str, str, int, str, dict[str, str]]], label: str | None
) -> None:
    made = sentence(("глагол", "VERB", 0, "root", PRES), *rest)
    verb = replace(made.words[0], lemma=lemma)
    found = LABELLERS["impersonal_sent"](replace(made, words=(verb, *made.words[1:])))
    assert (found.label if found else None) == label


def test_a_shift_swaps_two_neighbours_and_nothing_else() -> None:
    seen = set()
    for number in range(40):
        made = sentence(
            ("Вот", "PART", 3, "advmod", {}), (f"слон{'а' * number}", "NOUN", 3, "nsubj", {}),
            ("идёт", "VERB", 0, "root", FIN), ("домой", "ADV", 3, "advmod", {}), ("снова", "ADV", 3, "advmod", {}),
        )  # fmt: skip
        found = LABELLERS["ngram_shift"](made)
        assert found is not None
        before, after = made.text.split(), found.text.split()
        moved = [at for at in range(5) if before[at] != after[at]]
        if found.label == "O":
            assert moved == []
        else:
            assert len(moved) == 2
            assert moved[1] == moved[0] + 1
            assert moved[0] > 0
            assert sorted(before) == sorted(after)
        seen.add((found.label, tuple(moved)))
    assert {label for label, _ in seen} == {"O", "I"}
    assert len(seen) > 3


def test_refusals() -> None:
    assert "words" in refused(sentence(("Да", "INTJ", 0, "root", {})))
    assert refused(_simple()) == ""
    broken = sentence(*[("слово", "NOUN", 2 if at == 0 else 1, "dep", {}) for at in range(6)])
    assert refused(broken) == "heads form no tree"
