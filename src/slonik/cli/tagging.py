"""`slonik finetune MODEL --task ner`: one tagger from annotated texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

_BARE = {"crf": ("crf", True), "bilstm": ("bilstm", False), "bilstm-crf": ("bilstm", True)}


def finetune_ner(
    model: str,
    recipe: Path | None,
    out: Path,
    data: Path | None,
    announce: Callable[[str], None],
    options: Mapping[str, Any],
    tuning: Mapping[str, Any],
    set_: Sequence[str] = (),
) -> None:
    """Train a tagger: an encoder with a head, or a BiLSTM or a CRF from nothing (bare names).

    Args:
        model: folder, hub id, embedded:NAME, or crf, bilstm, bilstm-crf.
        data: annotated texts in any known format.
        options: `data_dir`: folder that holds seccoll/, where there is no `data`; `mapping`: recipe that merges and
            drops labels; `teacher`: one tagger to learn from; `unlabelled`: text files on which it teaches; `crf`:
            learn scores of label transitions; `seed`; `json`: file for records. None = as in the recipe.
        tuning: fields of the training settings; None = as in the recipe.

    Raises:
        SlonikError: wrong fields, bad annotations, more than one teacher.
    """
    from slonik.core.config import parse_overrides, read_config, read_recipe
    from slonik.core.errors import SlonikError
    from slonik.core.records import write_records
    from slonik.data.annotations.document import read_mapping
    from slonik.tagging.config import TaggerRecipe
    from slonik.tagging.tagger import run_tagging

    teacher, unlabelled, mapping = (options.get(name) for name in ("teacher", "unlabelled", "mapping"))
    if teacher and len(teacher) > 1:
        raise SlonikError("a tagger learns from one teacher: give --teacher once")
    if unlabelled and not teacher:
        raise SlonikError("--unlabelled texts need a --teacher, which says what is in them")
    kind, chain = _BARE.get(model, ("encoder", False)) if not Path(model).is_dir() else ("encoder", False)
    fields: dict[str, Any] = {"data": str(data) if data else None, "out": str(out), "seed": options.get("seed")}
    fields |= {"system.name": out.name, "system.kind": kind, "system.model": model if kind == "encoder" else None}
    fields["system.crf"] = True if chain else options.get("crf")
    fields["system.lesson.teacher"] = teacher[0] if teacher else None
    fields["system.lesson.unlabelled"] = list(unlabelled) if unlabelled else None
    fields |= {f"system.tuning.{name}": value for name, value in tuning.items()}
    if data is None and options.get("data_dir") is not None:
        folder, labels = security_collection(options["data_dir"])
        fields |= {"data": str(folder), "mapping": labels}
    if fields["data"] is None and not (recipe is not None and read_recipe(recipe).get("data")):
        raise SlonikError("name your annotated texts with --data, or a folder that holds seccoll/ with --data-dir")
    if mapping is not None:
        fields["mapping"] = read_mapping(mapping).model_dump()
    found = run_tagging(read_config(TaggerRecipe, recipe, fields | parse_overrides(set_)), announce)
    for name, value in found.summary.items():
        typer.echo(f"{name:>12} {value:.4f}" if isinstance(value, float) else f"{name:>12} {value}")
    for record in found.records:
        if record.metric == "f1_micro":
            typer.echo(f"{'f1':>12} {record.value:.4f} [{record.low:.4f}, {record.high:.4f}] of the choosing documents")
    if options.get("json") is not None:
        write_records(options["json"], found.records)
    typer.echo(f"tagger: {out}")


def security_collection(data_dir: Path) -> tuple[Path, dict[str, Any]]:
    """The folder of the security collection in a data folder, and its mapping of labels as in the papers.

    Raises:
        SlonikError: it is not there.
    """
    from slonik.core.errors import SlonikError
    from slonik.tagging.evaluation.tasks import SECCOLL

    folder = data_dir / SECCOLL.id
    if not folder.is_dir():
        raise SlonikError(
            f"there is no {folder}: `slonik fetch seccoll` gets the security collection, or name your own annotations "
            "with --data"
        )
    return folder, SECCOLL.mapping.model_dump()
