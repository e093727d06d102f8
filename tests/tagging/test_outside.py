"""Names from outside: lists, inflection, substitution, what introduces names; and training on other texts before."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from slonik.core.errors import SlonikError
from slonik.data.annotations.document import Counts, Document, Span
from slonik.data.annotations.formats import write_spans_jsonl
from slonik.tagging.config import System
from slonik.tagging.gazetteers import Introductions, gazetteer_keys, read_gazetteers
from slonik.tagging.inflection import Inflector
from slonik.tagging.outside import beside_recipe, outside_identities, read_outside
from slonik.tagging.substitution import substituted
from tests.tagging.models.toys import LABELS, document, documents

pytest.importorskip("pymorphy3")


@pytest.fixture(scope="module")
def inflector() -> Inflector:
    return Inflector()


@pytest.mark.parametrize(
    ("name", "case", "wanted"),
    [
        ("Лаборатория Касперского", "ablt", "Лабораторией Касперского"),
        ("Анна Смирнова", "datv", "Анне Смирновой"),
        ("Министерство обороны", "gent", "Министерства обороны"),
        ("Российская Федерация", "loct", "Российской Федерации"),
        ("Санкт-Петербург", "gent", "Санкт-Петербурга"),
        ("Тихий Ворон", "ablt", "Тихим Вороном"),
        ("Microsoft Windows", "gent", "Microsoft Windows"),
        ("ФСБ", "gent", "ФСБ"),
        ("Касперского", "datv", "Касперского"),  # it stands in another case: nothing is done to it
    ],
)
def test_names_take_cases(inflector: Inflector, name: str, case: str, wanted: str) -> None:
    assert inflector.inflected(name, case) == wanted


def test_the_case_of_a_name_is_that_of_its_head(inflector: Inflector) -> None:
    assert inflector.case_of("Лабораторией Касперского") == "ablt"
    assert inflector.case_of("Яндексу") == "datv"
    assert inflector.case_of("Windows XP") == "nomn" and inflector.case_of("ФСБ") == "nomn"
    assert inflector.forms("Windows") == ["Windows"] and "Яндексом" in inflector.forms("Яндекс")


def test_gazetteers_are_read_and_looked_up_in_every_case(tmp_path: Path, inflector: Inflector) -> None:
    (tmp_path / "org.txt").write_text("# банки\nСбербанк\n\nСбербанк\nBank of America\n", encoding="utf-8")
    names = read_gazetteers({"ORG": [str(tmp_path / "org.txt")]}, ["ORG", "PER"])
    assert names == {"ORG": ["Сбербанк", "Bank of America"]}
    keys = gazetteer_keys(names, inflector)[0]
    assert keys[("сбербанком",)] == "ORG" and keys[("bank", "of", "america")] == "ORG"


@pytest.mark.parametrize(
    ("content", "label", "sentence"),
    [
        ("Сбербанк\n".encode("cp1251"), "ORG", "not UTF-8.*windows-1251|cp1251"),
        ("Сбербанк\nТула\n".encode("utf-16-le"), "ORG", "it looks like utf-16le"),
        ("Google\nApple\n".encode("utf-16-be"), "ORG", "it looks like utf-16be"),
        ("Сбербанк\nТула\n".encode("utf-32"), "ORG", "it looks like utf-32"),
        ("Сбербанк\rТула\r".encode(), "ORG", "end with CR alone"),
        (b'{"label": "ORG", "pattern": "X"}\n', "ORG", "a rule of spaCy: call the file .jsonl"),
        (b"# nothing\n", "ORG", "holds no name"),
        (b"X\n", "SHIP", "no training text has this label"),
        (None, "ORG", "there is no gazetteer"),
    ],
)
def test_bad_gazetteers_are_refused(tmp_path: Path, content: bytes | None, label: str, sentence: str) -> None:
    path = tmp_path / "names.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SlonikError, match=sentence):
        read_gazetteers({label: [str(path)]}, ["ORG"])


@pytest.mark.parametrize(("name", "content", "why"), [
    ("names.csv", "Сбербанк;ORG\n", "is a table"), ("names.txt", "# x\nСбербанк\tORG\n", "line 2: .* has a tab"),
])  # fmt: skip
def test_a_table_is_no_list_of_names(tmp_path: Path, name: str, content: str, why: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(SlonikError, match=why):
        read_gazetteers({"ORG": [str(tmp_path / name)]}, ["ORG"])


def test_names_that_no_list_finds_are_counted(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("Сбербанк\nЯ\n" + "очень " * 9 + "\n", encoding="utf-8")
    counts = Counts()
    assert len(read_gazetteers({"ORG": [str(tmp_path / "names.txt")]}, ["ORG"], counts)["ORG"]) == 3
    assert counts == {"names of ORG in gazetteers that are never found (one sign, or over 8 words)": 2}


def test_rules_of_spacy_are_names_where_they_are_names(tmp_path: Path) -> None:
    rows = [
        '{"label": "ORG", "pattern": "Сбербанк"}',
        '{"label": "ORG", "pattern": [{"LOWER": "bank"}, {"LOWER": "of"}, {"TEXT": "America"}]}',
        '{"label": "PER", "pattern": "Анна"}',
    ]
    (tmp_path / "rules.jsonl").write_text("\n".join(rows), encoding="utf-8")
    files = {"ORG": [str(tmp_path / "rules.jsonl")]}
    counts = Counts()
    assert read_gazetteers(files, ["ORG"], counts) == {"ORG": ["Сбербанк", "bank of America"]}
    assert counts == {"rules of PER in rules.jsonl, a gazetteer of ORG, left out": 1}
    for name, write in (("rules.ndjson", lambda text: text), ("rules.jsonl.gz", gzip.compress)):
        (tmp_path / name).write_bytes(write("\n".join(rows).encode()))
        assert read_gazetteers({"ORG": [str(tmp_path / name)]}, ["ORG"])["ORG"] == ["Сбербанк", "bank of America"]
    counts.clear()
    both = read_gazetteers(files | {"PER": files["ORG"]}, ["ORG", "PER"], counts)
    assert both["PER"] == ["Анна"] and not counts
    (tmp_path / "rules.jsonl").write_text('{"label": "ORG", "pattern": [{"POS": "NOUN"}]}', encoding="utf-8")
    with pytest.raises(SlonikError, match=r"line 1: .* is no plain word"):
        read_gazetteers(files, ["ORG"])


def test_gazetteers_may_lie_beside_the_recipe_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "names").mkdir()
    (tmp_path / "names" / "org.txt").write_text("Сбербанк\n", encoding="utf-8")
    system = System(name="s", kind="crf", gazetteers={"ORG": ["names/org.txt", "elsewhere.txt"]})
    found = beside_recipe(system, tmp_path / "recipe.yaml")
    assert found.gazetteers == {"ORG": (str(tmp_path / "names" / "org.txt"), "elsewhere.txt")}
    assert beside_recipe(system, {"systems": []}) == system


def test_names_are_replaced_alike_and_in_their_case(inflector: Inflector) -> None:
    text = "{PER:Анна Смирнова} из {ORG:Тулы}.\nБез имён.\nМы верим {PER:Анне Смирновой} и {PER:Анна Смирнова}."
    one = document(text, "d")
    found = substituted([one], {"PER": ["Пётр Ким", "Иван Белов"]}, inflector, seed=1)[0]
    words = [found.text[span.start : span.end] for span in found.spans]
    assert "Без имён" not in found.text and found.text.count("\n") == 1  # lines without a replaced name are left out
    assert words[0] == words[3] and words[0] in ("Пётр Ким", "Иван Белов")
    assert words[2] in ("Петру Киму", "Ивану Белову") and words[1] == "Тулы"
    assert [span.label for span in found.spans] == ["PER", "ORG", "PER", "PER"]
    again = substituted([one], {"PER": ["Пётр Ким", "Иван Белов"]}, inflector, seed=1)[0]
    assert again == found
    assert substituted([one], {"ORG": ["Тула"]}, inflector) == []  # one name is no choice


def test_what_introduces_names_finds_others() -> None:
    training = [document(f"Найден вирус {{VIRUS:Имя{n}}} и файл Текст.", str(n)) for n in range(6)]
    known = Introductions.of(training)
    assert known.labels == {"вирус": "VIRUS"}
    found = known.names(["Новый вирус Чёрный Крот 7 опасен.", "вирус гриппа", "вирус Zeus", "вирус Zeus!"])
    assert found == {"VIRUS": ["Zeus", "Чёрный Крот 7"]}


def test_a_training_takes_what_its_system_names(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("Чёрный Крот\nGoldRat\n", encoding="utf-8")
    (tmp_path / "u.txt").write_text("\n".join(f"найден вирус Zeus{n}" for n in range(3)), encoding="utf-8")
    system = System(
        name="s", kind="crf", gazetteers={"VIRUS": [str(tmp_path / "v.txt")]},
        substitution={"unlabelled": [str(tmp_path / "u.txt")]},
    )  # fmt: skip
    before = outside_identities(system)
    found = read_outside(system, LABELS.classes, documents(), 0)
    assert found.copies and found.counts["names of gazetteers"] == 2
    old = {one.text[span.start : span.end] for one in documents() for span in one.spans if span.label == "VIRUS"}
    new = {one.text[span.start : span.end] for one in found.copies for span in one.spans if span.label == "VIRUS"}
    assert new - old
    (tmp_path / "v.txt").write_text("Чёрный Крот\nGoldRat\nRedRat\n", encoding="utf-8")
    assert outside_identities(system)["gazetteers"] != before["gazetteers"]


def test_texts_before_give_the_labels_that_are_known(tmp_path: Path) -> None:
    other = Document("n", "Анна живёт в Туле 5 лет", (Span(0, 4, "PERSON"), Span(13, 17, "CITY"), Span(18, 23, "AGE")))
    write_spans_jsonl([other], tmp_path / "first.jsonl")
    mapping = {"merge": {"PERSON": "PER", "CITY": "LOC"}}
    first = {"data": str(tmp_path / "first.jsonl"), "mapping": mapping}
    system = System(name="s", kind="bilstm", first=first)
    found = read_outside(system, LABELS.classes, documents(), 0)
    assert [span.label for span in found.first[0].spans] == ["PER", "LOC"]
    assert found.counts["spans of other labels left out of the texts before"] == 1
    with pytest.raises(SlonikError, match=r"say in first\.mapping"):
        bare = System(name="s", kind="bilstm", first={"data": first["data"]})
        read_outside(bare, LABELS.classes, documents(), 0)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"kind": "crf", "first": {"data": "x"}}, "no use for first"),
        ({"kind": "crf", "context": 8}, "no use for context"),
        ({"kind": "bilstm", "members": ["a", "b"]}, "no use for members"),
        ({"kind": "ensemble", "members": ["a"]}, "two taggers or more"),
        ({"kind": "ensemble", "members": ["a", "b"], "gazetteers": {"ORG": ["x"]}}, "no use for gazetteers"),
        ({"kind": "bilstm", "nested": True}, "need an encoder"),
        ({"kind": "encoder", "model": "m", "nested": True, "crf": True}, "no use for crf"),
        ({"kind": "encoder", "model": "m", "nested": True, "names": False}, "no use for names"),
        ({"kind": "encoder", "model": "m", "width": 3}, "no span head"),
        ({"kind": "crf", "substitution": {}}, "say whose"),
        ({"kind": "crf", "substitution": {"labels": ["ORG"], "from_texts": False}}, "has none"),
        ({"kind": "bilstm", "names": False, "gazetteers": {"ORG": ["x"]}}, "reads no lists"),
    ],
)
def test_settings_that_do_nothing_are_refused(fields: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        System(name="s", **fields)  # type: ignore[arg-type]
