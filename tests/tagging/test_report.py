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
    plain = page.replace("http://www.w3.org/", "").replace("http://purl.org/", "")  # names of XML in the plots
    plain = plain.replace("http://creativecommons.org/", "")
    assert "alert(1)" in parsed.text and "src=" not in page and "http:" not in plain and "https:" not in plain
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
    first_row = dict(zip(systems.columns, (one.text for one in systems.rows[0].cells), strict=True))
    assert "100" in first_row["ms per text"] and "MB" in first_row["size"]
    assert any("b" in table.rows[0].cells[0].text for table in differences)


def test_names_heavy_documents_confidence_folds_and_learning_have_tables_and_plots() -> None:
    texts = [Document(str(number), TEXT, GOLD) for number in range(6)]
    many = "Банк " * 30
    texts.append(Document("list", many, tuple(Span(5 * n, 5 * n + 4, "ORG") for n in range(30))))
    folds = [number % 2 for number in range(7)]
    first = score("a", texts, [FOUND] * 6 + [[]], task="toy", folds=folds, seconds=0.4, facts={"bytes": 2_000_000})
    second = score(
        "b", texts, [list(one.spans) for one in texts], task="toy", folds=folds, seconds=0.8, facts={"bytes": 1_000},
        seen_names=[{"иван"}] * 7,
    )  # fmt: skip
    records = [*first.records, *second.records, *compare([first, second])]
    points = [{"share": 0.5, "f1": 0.4, "low": 0.3, "high": 0.5}, {"share": 1.0, "f1": 0.5, "low": 0.4, "high": 0.6}]
    next(one for one in records if one.metric == "f1_micro").detail["learning"] = points
    titles = {table.title: table for table in ner_tables(records)}
    heavy = titles["With and without documents that hold much of a label"]
    assert "document list holds 30 of" in heavy.notes[0]
    assert "Names that the training texts have, and that they have not" in titles
    assert "Confidence: the share of spans that are right" in titles and "Differences of micro F1 by fold" in titles
    assert "Learning curve: micro F1 by share of the training texts" in titles
    worst = {one.model: one.by_document() for one in (first, second)}
    page = error_page(records, {"a": first.errors()}, title="x", documents=worst)
    for words in ("F1 against milliseconds per text", "F1 against bytes on disk", "Learning curve", "Reliability"):
        assert words in page, words
    assert "a: documents with most mistakes" in page and "b: documents with most mistakes" not in page
