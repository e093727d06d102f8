"""Tiny checkpoints with heads and their exports, each made once per test session, whichever process asks first."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from slonik import models
from slonik.data.annotations.document import Document, Span
from slonik.exporting.heads import run
from slonik.exporting.heads.report import HeadReport
from slonik.exporting.parity import parity_texts
from slonik.models.task_model import new_task_model, save_task_model
from slonik.runtime.tagging.labels import BioLabels
from slonik.runtime.tagging.names import NAMES_FILE, NameList
from slonik.text import TASK_FILE
from slonik.text.task_config import TaskConfig
from tests import folders, tiny

TAGS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
BIOES = ("S-LOC", "O", "B-PER", "I-PER", "E-PER", "S-PER")
CONFIGS: dict[str, dict[str, Any]] = {
    "classifier": {"kind": "sequence", "shape": "stock", "labels": ("да", "нет", "1")},
    "several": {"kind": "sequence", "target": "multi", "labels": ("а", "б"), "columns": {"text": ["text"]}},
    "reranker": {"kind": "sequence", "shape": "stock", "target": "number", "activation": "sigmoid"},
    "pairs": {"kind": "pair", "labels": ("0", "1"), "columns": {"text": ["premise", "hypothesis"]}},
    "apart": {"kind": "pair", "pairs": "separate", "labels": ("0", "1"), "columns": {"text": ["a", "b"]}},
    "words": {"kind": "words", "task": "russe", "labels": ("false", "true")},
    "choice": {"kind": "choice", "shape": "stock", "target": "choice"},
    "answer": {"kind": "answer", "shape": "stock", "target": "answer", "details": {"unanswerable": True}},
    "tagger": {"kind": "tokens", "target": "tags", "labels": TAGS, "head": {"crf": True, "layers": 3, "names": True}},
    "foreign": {"kind": "tokens", "shape": "stock", "target": "tags", "labels": BIOES, "details": {"rules": False}},
}
FAMILIES = {"reranker": "xlm-roberta", "several": "deberta-v2", "foreign": "modernbert", "apart": "roberta"}
"""Those that are no BERT."""
_FEW = 40


def root() -> Path:
    """The folder of them all, which the processes of one test session share."""
    return folders.of_session("headed")


@cache
def checkpoint(name: str) -> Path:
    """A checkpoint with the head `name`, whose weights are wide enough to tell texts apart."""
    return folders.once(root() / name, lambda: _checkpoint(name, root() / name))


def _checkpoint(name: str, folder: Path) -> Path:
    family = FAMILIES.get(name, "bert")
    layers = 2 if name == "tagger" else 1  # torch traces a layer in a second: the head of the tagger reads several
    base = tiny.checkpoint(root() / f"base-{name}", family, layers=layers)
    config = TaskConfig(**{"task": name, **CONFIGS[name]}, max_length=48)
    model = new_task_model(models.load(base, device="cpu"), config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    save_task_model(model.eval(), folder)
    if config.head.get("names"):
        names = NameList.of(BioLabels.of_tags(TAGS), [Document("1", "Слон пришёл", (Span(0, 4, "PER"),))])
        (folder / NAMES_FILE).write_bytes(names.dump())
    if name == "foreign":
        (folder / TASK_FILE).unlink()
    return folder


@cache
def exported(name: str) -> tuple[Path, HeadReport]:
    """The exported folder of that checkpoint and its report; of pairs in static int8 and fp16 too; nothing is timed."""
    out = root() / f"{name}-onnx"
    return out, folders.once(out, lambda: _export(name, out))


def _export(name: str, out: Path) -> HeadReport:
    int8 = "static" if name == "pairs" else "dynamic"
    model = run.head_of(checkpoint(name))
    assert model is not None
    with patch.object(run, "parity_texts", lambda: parity_texts()[:_FEW]):
        return run.export_head(model, out, int8=int8, fp16=int8 == "static", measure_speed=False)  # type: ignore[arg-type]
