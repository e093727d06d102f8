"""`predict` on one file: any kind of table in, any kind out, nothing lost, answers those of the stream."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from slonik.core.errors import SlonikError
from slonik.core.files import write_json
from slonik.core.hashing import sha256_json
from slonik.core.identity import rows_identity
from slonik.finetuning.predictors import Row
from slonik.finetuning.tables import is_table_file, predict_table


class Lengths:
    """A predictor whose answer is whether a text is long."""

    columns: Sequence[str] = ("text",)

    def read(self, row: Row, where: str) -> Any:
        if not isinstance(row.get("text"), str):
            raise SlonikError(f"{where}: the column 'text' is missing or not a text")
        return row["text"]

    def answer(self, given: Sequence[Any], *, probabilities: bool) -> list[dict[str, Any]]:
        if "отказ" in given:
            raise SlonikError("row 1 is refused")
        chances = [min(len(text) / 10, 1.0) for text in given]
        return [
            {
                "label": "длинный" if chance > 0.5 else "короткий",
                "probabilities": {"длинный": chance, "короткий": 1 - chance},
            }
            for chance in chances
        ]


ROWS = [{"text": "кот", "label": "да", "n": 1}, {"text": "длинный текст; с точкой", "label": "нет", "n": 2}]


def written(folder: Path, kind: str) -> Path:
    path = folder / f"in{kind}"
    if kind == ".jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS), encoding="utf-8")
    elif kind == ".parquet":
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(arrow.Table.from_pylist(ROWS), path)
    else:
        encoding, separator = ("cp1251", ";") if kind == ".csv" else ("utf-8", "\t")
        with open(path, "w", encoding=encoding, newline="") as stream:
            writer = csv.DictWriter(stream, list(ROWS[0]), delimiter=separator)
            writer.writeheader()
            writer.writerows(ROWS)
    return path


def rows_in(path: Path, encoding: str = "utf-8") -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        found: list[dict[str, Any]] = pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
        return found
    text = path.read_bytes().decode(encoding)
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    separator = ";" if ";" in text.splitlines()[0] else "\t" if path.suffix == ".tsv" else ","
    return list(csv.DictReader(text.splitlines(), delimiter=separator))


@pytest.mark.parametrize("given", [".csv", ".tsv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("wanted", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_kind_of_table_becomes_every_other_with_its_rows_and_answers(
    tmp_path: Path, given: str, wanted: str
) -> None:
    out = tmp_path / f"out{wanted}"
    found = predict_table(Lengths(), written(tmp_path, given), out, batch_size=1, probabilities=True)
    assert found.rows == 2 and not found.faults
    encoding = "cp1251" if given == ".csv" and wanted in (".csv", ".tsv") else "utf-8"
    rows = rows_in(out, encoding)
    assert [row["text"] for row in rows] == [row["text"] for row in ROWS]
    assert [row["label"] for row in rows] == ["да", "нет"]  # the column that was there
    assert [row["label_predicted"] for row in rows] == ["короткий", "длинный"]
    assert [float(row["probability"]) for row in rows] == pytest.approx([0.7, 1.0])
    if given in (".csv", ".tsv") and wanted in (".csv", ".tsv"):
        assert out.read_bytes().count(b"\r\n") == 3  # as it was written
    assert float(rows[0]["probability_длинный"]) == pytest.approx(0.3)


def test_rows_that_cannot_be_answered_are_named_left_out_or_the_end(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "кот"}\n{"other": 1}\n{"text": "отказ"}\n{"text": "дом"}\n', encoding="utf-8")
    found = predict_table(Lengths(), path, tmp_path / "a.jsonl", batch_size=8)
    rows = rows_in(tmp_path / "a.jsonl")
    assert [row["label"] for row in rows] == ["короткий", None, None, "короткий"]
    assert "row 2" in rows[1]["error"] and rows[2]["error"] == "row 3 is refused" and len(found.faults) == 2
    found = predict_table(Lengths(), path, tmp_path / "b.jsonl", batch_size=8, bad_lines="skip")
    assert found.rows == 2 and all("error" not in row for row in rows_in(tmp_path / "b.jsonl"))
    with pytest.raises(SlonikError, match="row 2"):
        predict_table(Lengths(), path, tmp_path / "c.jsonl", bad_lines="stop")
    assert not (tmp_path / "c.jsonl").exists()


def test_answers_to_answered_rows_stand_beside_the_first_ones(tmp_path: Path) -> None:
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    predict_table(Lengths(), written(tmp_path, ".jsonl"), first)
    predict_table(Lengths(), first, second)
    assert set(rows_in(second)[0]) == {*rows_in(first)[0], "label_predicted_2", "probability_predicted"}


def test_a_column_of_a_later_row_alone_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "кот"}\n{"text": "дом", "label": "мой"}\n', encoding="utf-8")
    found = predict_table(Lengths(), path, tmp_path / "out.jsonl")
    assert found.columns[0] == "label_predicted" and rows_in(tmp_path / "out.jsonl")[1]["label"] == "мой"


def test_half_a_surrogate_pair_is_kept_as_its_escape(tmp_path: Path) -> None:
    path, half = tmp_path / "in.jsonl", "кот \ud83d"
    path.write_text('{"text": "кот \\ud83d"}\n', encoding="utf-8")
    predict_table(Lengths(), path, tmp_path / "out.jsonl")
    assert rows_in(tmp_path / "out.jsonl")[0]["text"] == half
    predict_table(Lengths(), path, tmp_path / "out.csv")
    assert rows_in(tmp_path / "out.csv", "utf-8-sig")[0]["text"] == "кот \\ud83d"
    assert sha256_json([half]) != sha256_json(["кот"]) and rows_identity([{"text": half}])
    write_json(tmp_path / "page.json", {"text": half})
    assert json.loads((tmp_path / "page.json").read_text(encoding="utf-8")) == {"text": half}
    pytest.importorskip("pyarrow")
    with pytest.raises(SlonikError, match=r"write \.jsonl instead"):
        predict_table(Lengths(), path, tmp_path / "out.parquet")


def test_names_that_stand_twice_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "кот"}\n{"text": "дом", "id": 1, "text": "сад"}\n', encoding="utf-8")
    with pytest.raises(SlonikError, match=r"line 2: the key 'text' is there twice"):
        predict_table(Lengths(), path, tmp_path / "out.jsonl")
    table = tmp_path / "in.csv"
    table.write_text("text,,\nкот,а,\n", encoding="utf-8")
    with pytest.raises(SlonikError, match="line 2: 2 columns have no name"):
        predict_table(Lengths(), table, tmp_path / "out.csv")
    table.write_text("text,,\nкот,,\n", encoding="utf-8")  # what office programs leave behind
    assert predict_table(Lengths(), table, tmp_path / "out.csv").rows == 1
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    twice = pyarrow.Table.from_arrays([pyarrow.array(["кот"]), pyarrow.array(["дом"])], names=["text", "text"])
    parquet.write_table(twice, tmp_path / "in.parquet")
    with pytest.raises(SlonikError, match="two columns 'text'"):
        predict_table(Lengths(), tmp_path / "in.parquet", tmp_path / "out.parquet")


def test_what_cannot_be_read_or_written_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, ".csv")
    with pytest.raises(SlonikError, match="no kind of file"):
        predict_table(Lengths(), path, tmp_path / "out.xlsx")
    with pytest.raises(SlonikError, match="there already"):
        predict_table(Lengths(), path, path)
    with pytest.raises(SlonikError, match="no file of rows"):
        predict_table(Lengths(), tmp_path / "in.txt", tmp_path / "out.csv")
    body = tmp_path / "body.csv"
    body.write_text("Отзыв\nхорошо\n", encoding="utf-8")
    assert predict_table(Lengths(), body, tmp_path / "o.csv", column="Отзыв").rows == 1
    for column in (None, "Отзыф"):
        with pytest.raises(SlonikError, match=rf"body.csv: .*{column or 'text'}.*Отзыв"):
            predict_table(Lengths(), body, tmp_path / "p.csv", column=column)
    assert not (tmp_path / "p.csv").exists()
    assert is_table_file("a.CSV") and is_table_file(Path("a.tsv.gz")) and not is_table_file("a.jsonl")
