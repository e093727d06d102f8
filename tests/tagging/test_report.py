"""The error browser and the tables: everything that was found is on the page, and nothing on it is markup."""

from __future__ import annotations

from html.parser import HTMLParser

from slonik.data.annotations.document import Document, Span
from slonik.tagging.metrics import compare, score
from slonik.tagging.report import error_page, ner_tables
from slonik.tagging.tasks import SECCOLL, published_records

TEXT = "Группа <script>alert(1)</script> атаковала Сбербанк & Ко в Москве, сообщил Петров из Тулы."


def _span(words: str, label: str, confidence: float | None = None) -> Span:
    start = TEXT.index(words)
    return Span(start, start + len(words), label, confidence)


GOLD = (_span("<script>", "HACKER"), _span("Сбербанк & Ко", "ORG"), _span("Москве", "LOC"), _span("Петров", "PER"))
FOUND = [
    _span("Сбербанк", "ORG", 0.8),
    _span("Москве", "ORG", 0.4),
    _span("Тулы", "LOC", 0.9),
    _span("Петров", "PER", 0.9),
]


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_shows_every_kind_of_mistake_and_escapes_all() -> None:
    found = score("crf <i>", [Document("d & 1", TEXT, GOLD)], [FOUND], task="toy")
    page = error_page(found.records, {found.model: found.errors()}, title="Named entities: <toy>")
    parsed = _Tags()
    parsed.feed(page)
    assert "script" not in parsed.tags and "i" not in parsed.tags and "link" not in parsed.tags
    for words in ("Missed", "Invented", "Wrong border", "Wrong type", "LOC → ORG", "document d & 1", "confidence 0.90"):
        assert words in parsed.text, words
    assert "alert(1)" in parsed.text and "src=" not in page and "http:" not in page and "https:" not in page
    assert "Wrong border and type" not in parsed.text


def test_long_groups_are_cut_and_say_so() -> None:
    documents = [Document(str(number), TEXT, GOLD) for number in range(400)]
    found = score("none", documents, [[] for _ in documents], task="toy")
    page = error_page(found.records, {"none": found.errors()}, title="x")
    assert "and 100 more" in page and page.count('class="err"') == 4 * 300


def test_tables_have_systems_labels_differences_and_published_rows_apart() -> None:
    documents = [Document(str(number), TEXT, GOLD) for number in range(4)]
    first = score("a", documents, [FOUND] * 4, task="seccoll", seconds=0.4, facts={"bytes": 2_000_000})
    second = score("b", documents, [list(GOLD)] * 4, task="seccoll")
    records = [*first.records, *second.records, *compare([first, second]), *published_records(SECCOLL)]
    systems, labels, *differences = ner_tables(records, caution="other folds")
    names = [row.cells[0].text for row in systems.rows]
    assert names[:2] == ["a", "b"] and "CRF, published" in names and len(names) == 2 + 8
    assert [row.published for row in systems.rows[:3]] == [False, False, True]
    assert any("other folds" in note for note in systems.notes)
    assert [row.cells[0].text for row in labels.rows] == ["HACKER", "LOC", "ORG", "PER"]
    assert "100" in systems.rows[0].cells[6].text and "MB" in systems.rows[0].cells[7].text
    assert differences and "b" in differences[0].rows[0].cells[0].text
