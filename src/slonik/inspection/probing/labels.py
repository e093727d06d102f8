"""What an annotated sentence is labelled for every probing task, and the word that must not give the label away.

One function per task: sentence -> `Labelled`, or None where the sentence does not suit the task. Definitions follow
the names of RuSentEval (Mikhailov et al. 2021, section 3) and SentEval (Conneau et al. 2018) in Universal
Dependencies; the authors' own filters are not public, so values on such tasks compare with each other, not with the
paper's. Which of the labelled sentences are taken is decided in `selection`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from slonik.core.hashing import derive_seed
from slonik.data.conllu import Sentence, Unit, Word, join_units

FEWEST_WORDS, MOST_WORDS = 5, 28
_LENGTH_BINS = (8, 12, 16, 20, 25, 28)  # SentEval's, upper ends
_DEPTHS = range(3, 7)  # deeper and flatter trees differ in length too much to be matched
_CLAUSES = ("advcl", "ccomp", "acl", "csubj", "parataxis")


@dataclass(frozen=True)
class Labelled:
    """A sentence for one task.

    Attributes:
        label: its class. text: what the file will hold (changed by ngram_shift alone).
        key: lemma that decides or could decide the label; its sentences all go into one split. "" = the text itself.
    """

    label: str
    text: str
    key: str = ""


def _lemmas(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Verbs that have no subject by themselves, those that have none over an infinitive, and those that link a predicative.
_IMPERSONAL = _lemmas(
    "вериться вечереть вздуматься дрематься думаться житься захотеться знобить лихорадить моросить мутить надлежать "
    "недоставать недостать нездоровиться несдобровать подобать подташнивать посчастливиться предстоять прийтись "
    "приходиться рассвести рассветать расхотеться светать сидеться смеркаться смеркнуться спаться стемнеть тошнить "
    "удаваться удаться холодать похолодать потеплеть хотеться чудиться почудиться"
)
_WITH_INFINITIVE = _lemmas(
    "следовать стоить полагаться случаться случиться доводиться довестись оставаться остаться требоваться "
    "потребоваться понадобиться надоедать надоесть везти повезти"
)
_LINKING = _lemmas("быть бывать стать становиться остаться оставаться оказаться казаться показаться")
_SHORTAGE = _lemmas("хватать хватить доставать достать")
_LUCK = _lemmas("везти повезти")


Labeller = Callable[[Sentence], Labelled | None]


def content(sentence: Sentence) -> list[Word]:
    """Words without punctuation and symbols."""
    return [word for word in sentence.words if word.upos not in ("PUNCT", "SYM")]


def refused(sentence: Sentence) -> str:
    """Why a sentence suits no task at all, "" if it does."""
    if not FEWEST_WORDS <= len(content(sentence)) <= MOST_WORDS:
        return f"not {FEWEST_WORDS} to {MOST_WORDS} words"
    if sentence.depth is None:
        return "heads form no tree"
    if any(mark in sentence.text for mark in "\t\n\r") or "://" in sentence.text:
        return "tab, line break or address in the text"
    return ""


def _sent_len(sentence: Sentence) -> Labelled | None:
    count = len(content(sentence))
    return Labelled(str(next(index for index, end in enumerate(_LENGTH_BINS) if count <= end)), sentence.text)


def _tree_depth(sentence: Sentence) -> Labelled | None:
    return Labelled(str(sentence.depth), sentence.text) if sentence.depth in _DEPTHS else None


def _ngram_shift(sentence: Sentence) -> Labelled | None:
    """Every second sentence, by its hash, has two neighbouring words swapped; cases and spaces keep their places."""
    units = list(sentence.units)
    places = [at for at in range(1, len(units) - 1) if _swappable(units[at], units[at + 1])]
    if not places:
        return None
    draw = derive_seed(0, "ngram_shift", sentence.text)
    if draw % 2 == 0:
        return Labelled("O", join_units(units))
    at = places[draw // 2 % len(places)]
    left, right = units[at], units[at + 1]
    units[at], units[at + 1] = (
        Unit(right.form, right.words, left.space_after),
        Unit(left.form, left.words, right.space_after),
    )
    return Labelled("I", join_units(units))


def _swappable(left: Unit, right: Unit) -> bool:
    return left.space_after and left.form.isalpha() and right.form.isalpha() and left.form.lower() != right.form.lower()


def _argument(sentence: Sentence, relation: str) -> Word | None:
    """The only noun that stands in `relation` to the root verb, not coordinated with another."""
    root = sentence.root
    if root is None or root.upos != "VERB":
        return None
    found = [word for word in sentence.children.get(root.id, []) if word.relation == relation]
    if len(found) != 1 or found[0].upos not in ("NOUN", "PROPN"):
        return None
    coordinated = any(child.relation == "conj" for child in sentence.children.get(found[0].id, []))
    return None if coordinated else found[0]


def _of_argument(relation: str, feature: str, values: tuple[str, ...], numbers: tuple[str, ...]) -> Labeller:
    def label(sentence: Sentence) -> Labelled | None:
        word = _argument(sentence, relation)
        if word is None or word.feats.get("Number") not in numbers:
            return None
        value = word.feats.get(feature)
        return Labelled(value, sentence.text, _key(word)) if value in values else None

    return label


_number = partial(_of_argument, feature="Number", values=("Sing", "Plur"), numbers=("Sing", "Plur"))
_gender = partial(_of_argument, feature="Gender", values=("Masc", "Fem", "Neut"), numbers=("Sing",))


def _predicate(feature: str, values: tuple[str, ...]) -> Labeller:
    def label(sentence: Sentence) -> Labelled | None:
        root = sentence.root
        if root is None or root.upos != "VERB" or not _finite(root):
            return None
        value = root.feats.get(feature)
        return Labelled(value, sentence.text, _key(root)) if value in values else None

    return label


def _predicate_voice(sentence: Sentence) -> Labelled | None:
    root = sentence.root
    if root is None or root.upos not in ("VERB", "ADJ"):
        return None
    voice = root.feats.get("Voice")
    if voice == "Pass" or any(w.deprel.endswith(":pass") for w in sentence.children.get(root.id, [])):
        return Labelled("Pass", sentence.text, _key(root))
    if root.upos == "VERB" and _finite(root) and voice in (None, "Act"):
        return Labelled("Act", sentence.text, _key(root))
    return None


def _conj_type(sentence: Sentence) -> Labelled | None:
    """Two finite clauses joined by one conjunction: coordinating or subordinating."""
    root = sentence.root
    if root is None or root.upos != "VERB" or not _finite(root):
        return None
    others = [w for w in sentence.words if w is not root and w.upos in ("VERB", "AUX") and _finite(w)
              and w.relation not in ("aux", "cop")]  # fmt: skip
    if len(others) != 1 or others[0].head != root.id:
        return None
    clause = others[0]
    joined = {(child.relation, child.upos) for child in sentence.children.get(clause.id, [])}
    if clause.relation == "conj" and ("cc", "CCONJ") in joined:
        return Labelled("coordinate", sentence.text, _key(root))
    if clause.relation in _CLAUSES and ("mark", "SCONJ") in joined:
        return Labelled("subordinate", sentence.text, _key(root))
    return None


def _impersonal_sent(sentence: Sentence) -> Labelled | None:
    """Third person singular (or neuter past) with a subject, or impersonal: "светает", "мне не спится".

    That a subject is missing is not enough, as it may be left out ("Второй раз не ошибётся"): where nothing shows that
    the verb has none, the sentence is not taken.
    """
    root = sentence.root
    if root is None or root.upos != "VERB" or not _finite(root) or root.feats.get("Number") != "Sing":
        return None
    third = root.feats.get("Person") == "3" or (
        root.feats.get("Tense") == "Past" and root.feats.get("Gender") == "Neut"
    )
    if not third or root.feats.get("Mood") == "Imp":
        return None
    relations = {child.relation for child in sentence.children.get(root.id, [])}
    if "nsubj" in relations:
        return Labelled("0", sentence.text, _key(root))
    if relations & {"csubj", "expl", "ccomp", "parataxis"} or not _without_subject(root, sentence):
        return None
    return Labelled("1", sentence.text, _key(root))


def _without_subject(root: Word, sentence: Sentence) -> bool:
    """Whether something shows that the verb has no subject: its lemma, or what depends on it."""
    below = sentence.children.get(root.id, [])
    lemma = _key(root)
    if lemma in _IMPERSONAL:
        return True
    infinitive = any(w.relation in ("xcomp", "csubj", "obj") and w.feats.get("VerbForm") == "Inf" for w in below)
    if lemma in _WITH_INFINITIVE and infinitive:
        return True
    experiencers = [w for w in below if w.relation == "iobj" or w.feats.get("Case") == "Dat"]
    if lemma in _LUCK and experiencers and not any(w.relation == "obj" for w in below):
        return True
    if lemma in _SHORTAGE and any(w.relation in ("obj", "obl", "nmod") and w.feats.get("Case") == "Gen" for w in below):
        return True
    if lemma in _LINKING:  # "стало известно": a predicative that agrees with nothing
        return any(w.relation == "xcomp" and _predicative(w) for w in below)
    if root.form.lower().endswith(("ся", "сь")):  # "мне не спится"
        return any(w.id < root.id and w.feats.get("Case") in (None, "Dat") for w in experiencers)
    force = any(w.feats.get("Case") == "Ins" and w.relation in ("iobj", "obl") for w in below)
    return root.feats.get("Gender") == "Neut" and force and any(w.relation == "obj" for w in below)  # "замело снегом"


def _predicative(word: Word) -> bool:
    short = word.feats.get("Variant") == "Short" and word.feats.get("Gender") == "Neut"
    return word.upos == "ADV" or (
        word.upos == "ADJ" and (short or (not word.feats and word.form.lower().endswith("о")))
    )


def _gapping(sentence: Sentence) -> Labelled | None:
    """A clause whose verb is left out (relation `orphan`), or two full coordinated clauses."""
    if any(word.relation == "orphan" for word in sentence.words):
        return Labelled("1", sentence.text)
    verbs = {word.id for word in sentence.words if word.upos == "VERB"}
    full = any(word.relation == "conj" and word.id in verbs and word.head in verbs for word in sentence.words)
    return Labelled("0", sentence.text) if full and not sentence.empty_nodes else None


def _finite(word: Word) -> bool:
    form = word.feats.get("VerbForm")
    return form == "Fin" or (form is None and "Mood" in word.feats)


def _key(word: Word) -> str:
    return (word.lemma or word.form).lower()


# word_content needs the whole sample: `selection.WordContent`.
LABELLERS: dict[str, Labeller] = {
    "sent_len": _sent_len,
    "ngram_shift": _ngram_shift,
    "tree_depth": _tree_depth,
    "subj_number": _number("nsubj"),
    "obj_number": _number("obj"),
    "subj_gender": _gender("nsubj"),
    "obj_gender": _gender("obj"),
    "predicate_tense": _predicate("Tense", ("Past", "Pres")),
    "predicate_aspect": _predicate("Aspect", ("Imp", "Perf")),
    "predicate_voice": _predicate_voice,
    "conj_type": _conj_type,
    "impersonal_sent": _impersonal_sent,
    "gapping": _gapping,
}
WORD_CONTENT = "word_content"
# Tasks whose classes are made alike in length, as far as there are sentences for it.
LENGTH_MATCHED = frozenset({"tree_depth", "gapping", "conj_type", "impersonal_sent", "predicate_voice"})
TASK_NAMES = ("sent_len", WORD_CONTENT, *[name for name in LABELLERS if name != "sent_len"])
