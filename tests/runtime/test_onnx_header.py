"""What a file says of itself is read without loading it; one for a newer onnxruntime is refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import slonik
from slonik.core.errors import SlonikError
from slonik.runtime.onnx_header import LEAST_KEY, METADATA_KEY, check_version, read_header
from slonik.runtime.session import open_session, read_metadata
from tests.exporting.exported import exported


def _file(folder: Path, properties: dict[str, str], *, opset: int = 20, ir: int = 10) -> Path:
    """A graph with the inputs of an encoder, and these metadata."""
    names = ["input_ids", "attention_mask", "y"]
    ids, mask, out = (helper.make_tensor_value_info(name, TensorProto.INT64, ["b", "t"]) for name in names)
    graph = helper.make_graph([helper.make_node("Add", names[:2], names[2:])], "sum", [ids, mask], [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
    helper.set_model_props(model, properties)
    path = folder / "onnx" / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def _saying(least: str | None) -> dict[str, str]:
    content = {"precision": "fp32"} | ({LEAST_KEY: least} if least else {})
    return {"other": "слон" * 50, METADATA_KEY: json.dumps(content)}


def test_header_is_what_onnxruntime_reads(tmp_path: Path) -> None:
    for folder in (exported("bert")[0], exported("bert", "static")[0]):
        for path in (folder / "onnx").glob("*.onnx"):
            session = open_session(path, threads=1)
            assert read_header(path).properties == session.get_modelmeta().custom_metadata_map
            assert read_header(path).ours == read_metadata(session)
    path = _file(tmp_path, _saying("1.2.3"), opset=19)
    assert (read_header(path).opset, read_header(path).properties["other"]) == (19, "слон" * 50)


def test_a_file_for_a_newer_onnxruntime_is_refused_with_both_versions(tmp_path: Path) -> None:
    path = _file(tmp_path, _saying("99.1.0"))
    with pytest.raises(SlonikError) as refused:
        open_session(path, threads=1)
    said = str(refused.value)
    assert "99.1.0" in said and onnxruntime.__version__ in said and "pip install" in said and str(path) in said
    with pytest.raises(SlonikError, match=r"99\.1\.0"):
        slonik.load(tmp_path)


@pytest.mark.parametrize(
    ("least", "installed", "fits"),
    [
        ("1.21.1", "1.21.0", False),
        ("1.21.1", "1.21.1", True),
        ("1.21.1", "1.22", True),
        ("1.9.0", "1.20.0", True),  # numbers, not letters
        ("1.20.0", "1.9.0", False),
        ("1.21.1", "1.21.1.dev20250101", True),
        ("1.21.1", "1.21.1+cu12", True),
        ("1.21", "1.21.0", True),
        ("1.18.0", "2.0.0", True),
        (None, "1.21.0", False),  # written by a slonik that did not say: its attention shares one bias
        (None, "1.21.1", True),
    ],
)
def test_versions_are_compared_by_their_numbers(least: str | None, installed: str, fits: bool, tmp_path: Path) -> None:
    path = _file(tmp_path, _saying(least))
    if fits:
        check_version(path, installed)
    else:
        with pytest.raises(SlonikError, match=installed):
            check_version(path, installed)


def test_files_of_others_and_files_that_are_none_are_left_to_onnxruntime(tmp_path: Path) -> None:
    assert read_header(_file(tmp_path, {})).least_onnxruntime is None
    for number, content in enumerate((b"", b"\xff" * 400, b"\x0a", b"GIF89a", b"\x3a\xff\xff\xff\xff\x0f")):
        broken = tmp_path / f"{number}.onnx"
        broken.write_bytes(content)
        check_version(broken)
        with pytest.raises(SlonikError, match=r"cannot be opened|is not"):
            open_session(broken, threads=1)


def test_a_file_of_a_newer_format_than_the_library_knows_is_said_to_be_that(tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match=r"newer onnxruntime than .* pip install --upgrade"):
        open_session(_file(tmp_path, {}, ir=99), threads=1)
    with pytest.raises(SlonikError, match=r"newer onnxruntime than"):
        open_session(_file(tmp_path, {}, opset=99), threads=1)
