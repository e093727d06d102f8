"""Models over folders of rows: order, columns and types kept, done parts skipped, what fails is named."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest

from slonik.core.errors import SlonikError
from slonik.core.identity import folder_identity
from slonik.data.annotations.document import Span
from slonik.finetuning.folders import PredictRows
from slonik.library import encode_folder
from slonik.models.baselines import BASELINES
from slonik.runtime.folders import EncodeRows
from slonik.scaling.parts import PartsResult
from slonik.tagging.folders import TagRows
from tests import tiny

MODEL = "hashing_300"
TEXTS = [f"{text} Глава {n}." for n in range(40) for text in tiny.TEXTS]


def _rows(folder: Path) -> Path:
    """Two parts of Parquet, one of them in a folder, and one of packed JSON Lines; a note that is none."""
    (folder / "rows" / "sub").mkdir(parents=True)
    texts = [*TEXTS[:1500], None, " "]
    columns = {
        "id": arrow.array(range(1502), arrow.int16()),
        "body": texts,
        "tags": [["а", str(n)] for n in range(1502)],
    }
    parquet.write_table(arrow.table(columns), folder / "rows" / "a.parquet")
    parquet.write_table(arrow.table({"body": TEXTS[:5]}), folder / "rows" / "sub" / "b.parquet")
    lines = [json.dumps({"body": text, "n": n}) + "\n" for n, text in enumerate(TEXTS[5:9])]
    (folder / "rows" / "c.jsonl.gz").write_bytes(gzip.compress("".join(lines).encode()))
    (folder / "rows" / "README.md").write_text("note")
    return folder / "rows"


def _encode(rows: Path, out: Path, **options: Any) -> PartsResult:
    return encode_folder(MODEL, rows, out, **{"column": "body", **options})


def test_every_part_is_written_again_with_vectors(tmp_path: Path) -> None:
    rows, said = _rows(tmp_path), list[str]()
    found = _encode(rows, tmp_path / "out", announce=said.append)
    assert (found.parts, found.skipped, found.rows, found.counts["empty texts"]) == (3, 0, 1511, 2)
    assert said == ["1 files that are neither Parquet nor JSON Lines are left alone"]
    before, after = (parquet.read_table(folder / "a.parquet") for folder in (rows, tmp_path / "out"))
    assert after.drop_columns(["embedding", "error"]).equals(before)
    vectors = np.stack(after["embedding"].to_numpy())
    expected = BASELINES[MODEL]().encode(TEXTS[:1500])
    assert np.array_equal(vectors[:1500], expected) and not vectors[1500:].any()
    assert after["error"].to_pylist()[1499:] == [None, "empty", "empty"]
    lines = gzip.decompress((tmp_path / "out" / "c.jsonl.gz").read_bytes()).decode().splitlines()
    kept = [json.loads(line) for line in lines]
    assert [row["n"] for row in kept] == [0, 1, 2, 3] and all("error" not in row for row in kept)
    assert np.array_equal(np.asarray(kept[0]["embedding"], np.float32), BASELINES[MODEL]().encode(TEXTS[5:6])[0])


def test_a_killed_call_goes_on_and_only_what_has_changed_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = _rows(tmp_path)
    _encode(rows, tmp_path / "whole")
    answer, asked = EncodeRows.answer, []

    def killed(work: EncodeRows, batch: Any, counts: Counter[str]) -> Any:
        asked.append(len(batch))
        if len(asked) == 4:
            raise KeyboardInterrupt
        return answer(work, batch, counts)

    monkeypatch.setattr(EncodeRows, "answer", killed)
    with pytest.raises(KeyboardInterrupt):
        _encode(rows, tmp_path / "out")
    assert asked == [1024, 478, 4, 5] and not (tmp_path / "out" / "sub" / "b.parquet").exists()
    assert _encode(rows, tmp_path / "out").skipped == 2
    assert folder_identity(tmp_path / "out").parts == folder_identity(tmp_path / "whole").parts
    parquet.write_table(arrow.table({"body": TEXTS[:6]}), rows / "sub" / "b.parquet")
    found = _encode(rows, tmp_path / "out")
    assert (found.skipped, found.rows, asked[4:]) == (2, 1512, [5, 6])


def test_another_model_or_option_does_not_write_over_the_parts(tmp_path: Path) -> None:
    rows = _rows(tmp_path)
    _encode(rows / "sub", tmp_path / "out")
    with pytest.raises(SlonikError, match=r"made from other inputs \(model"):
        encode_folder("hashing_1000", rows / "sub", tmp_path / "out", column="body")
    with pytest.raises(SlonikError, match=r"made from other inputs \(prefix"):
        _encode(rows / "sub", tmp_path / "out", prefix="query: ")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x.txt").write_text("x")
    with pytest.raises(SlonikError, match="does not say from what it was made"):
        _encode(rows / "sub", tmp_path / "mine")


def test_parts_that_fail_are_named_when_the_others_are_done(tmp_path: Path) -> None:
    rows = _rows(tmp_path)
    (rows / "a.parquet").write_bytes(b"PAR1 no")
    (rows / "d.jsonl").write_text('{"body": "Слон."}\n{"body": 3}\n', encoding="utf-8")
    parquet.write_table(arrow.table({"body": TEXTS[:2], "embedding": [1, 2]}), rows / "e.parquet")
    with pytest.raises(SlonikError) as caught:
        _encode(rows, tmp_path / "out")
    sentence = str(caught.value)
    assert sentence.startswith("3 of 5 parts failed (") and sentence.endswith("; the others are done")
    assert "a.parquet is not a readable Parquet file" in sentence
    assert "d.jsonl, among rows 1 to 2: row 2: the column 'body' holds 3, a int, and no text" in sentence
    assert "e.parquet has a column 'embedding' already" in sentence
    made = sorted(path.name for path in (tmp_path / "out").rglob("*") if path.suffix in (".gz", ".parquet", ".jsonl"))
    assert made == ["b.parquet", "c.jsonl.gz"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"engine": "spark"}, "unknown engine 'spark'"),
        ({"workers": 2}, "workers is 2: with --engine ray"),
        ({"column": "text"}, "no column 'text' .it has: body.: name one by --column"),
        ({"inputs": "nothing"}, "there is no nothing"),
        ({"inputs": "rows/README.md"}, "is no part"),
    ],
)
def test_what_cannot_be_read_is_refused(
    options: dict[str, Any], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = _rows(tmp_path) / "sub"
    with pytest.raises(SlonikError, match=sentence):
        encode_folder(MODEL, options.pop("inputs", rows), "out", **{"column": "body", **options})


class _Capitals:
    """Tags words that begin with a capital letter."""

    def tag(self, texts: Sequence[str]) -> list[list[Span]]:
        found = []
        for text in texts:
            places = [place for place, letter in enumerate(text) if letter.isupper()]
            found.append([Span(place, place + 1, "CAP", confidence=0.5) for place in places])
        return found


def test_spans_of_each_row_are_those_of_its_text() -> None:
    counts: Counter[str] = Counter()
    rows = [{"body": "Мама и Рим"}, {"body": ""}, {"body": "раму"}, {"body": "Да"}] * 20
    found = TagRows(_Capitals, "body").answer(rows, counts)["spans"]  # type: ignore[arg-type]
    starts = [[span["start"] for span in spans] for spans in found]
    assert starts == [[0, 7], [], [], [0]] * 20
    assert found[0][1] == {"start": 7, "end": 8, "label": "CAP", "text": "Р", "confidence": 0.5}
    assert counts == {"empty texts": 20, "spans": 60, "spans of CAP": 60}


class _Lengths:
    """Answers with the length of a text; refuses long ones, as a model may."""

    columns = ("text",)
    cut_rows = 0

    def read(self, row: Any, where: str) -> Any:
        if "text" not in row:
            raise SlonikError(f"{where}: no text")
        return row["text"]

    def answer(self, rows: Sequence[Any], *, probabilities: bool = False) -> list[dict[str, Any]]:
        if any(len(text) > 9 for text in rows):
            raise SlonikError("too long")
        return [{"idx": 0, "label": str(len(text)), "probability": 0.5} for text in rows]


def test_answers_stand_with_their_rows_and_what_cannot_be_answered_says_why() -> None:
    work, counts = PredictRows(_Lengths, "body", 3), Counter[str]()  # type: ignore[arg-type]
    rows = [{"body": "да"}, {"body": "слишком длинно"}, {"body": None}, {"body": "нет"}, {"body": "слон"}]
    found = work.answer(rows, counts)
    assert list(found["label"]) == ["2", None, None, "3", "4"]
    assert list(found["error"]) == [None, "too long", "row 3: the text is empty", None, None]
    assert list(found["probabilities"]) == [0.5, None, None, 0.5, 0.5] and counts["rows without an answer"] == 2
