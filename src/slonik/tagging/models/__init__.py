"""Taggers: a CRF over features, BiLSTMs, encoders with a token or a span head, ensembles; `load_tagger` opens them all.

Each kind is made, saved and opened in its own module, so that one does not need the packages of another.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from slonik.core.errors import SlonikError, lookup
from slonik.data.annotations.document import Tagger
from slonik.models.kinds import is_exported, resolve
from slonik.runtime import open_model
from slonik.tagging.models.slovnet_tagger import SLOVNET, SlovnetTagger
from slonik.text import TAGGER_FILE, TASK_FILE
from slonik.text.lines import read_json
from slonik.text.task_config import stock_kind


def load_tagger(model: str | Path, *, device: str | None = None, trust_remote_code: bool = False) -> Tagger:
    """The tagger in a folder, whatever its kind and in torch or exported, or a task model from the hub.

    Args:
        device: of an encoder; None = the first GPU if there is one, else the CPU.
        trust_remote_code: run Python code that comes with an encoder's checkpoint.

    Raises:
        SlonikError: there is no such folder, it holds no tagger, or it is damaged.
        MissingExtra: the packages of that kind are not installed.
    """
    if str(model) == SLOVNET and not Path(model).is_dir():
        return _slovnet(device)
    folder = resolve(model)
    if is_exported(folder):
        return _exported(folder, device)
    if (folder / TAGGER_FILE).is_file():
        kind = str(read_json(folder / TAGGER_FILE).get("kind", ""))
        if device is not None:
            raise SlonikError(f"{folder} (a {kind}) runs on the processor: leave --device out")
        return lookup(kind, _KINDS, f"kind of tagger in {folder / TAGGER_FILE}")(folder)
    if not (folder / TASK_FILE).is_file() and stock_kind(read_json(folder / "config.json", optional=True)) != "tokens":
        raise SlonikError(
            f"{folder} holds no tagger (neither {TAGGER_FILE} nor {TASK_FILE}, and its config.json names no class for "
            "token classification): make one with `slonik finetune MODEL --task ner --data FOLDER --out DIR`"
        )
    from slonik.models.task_model import load_task_model
    from slonik.tagging.models.encoder_tagger import encoder_tagger
    from slonik.tagging.models.span_tagger import SPANS, SpanTagger

    loaded = load_task_model(folder, device=device, trust_remote_code=trust_remote_code)
    if loaded.config.kind == SPANS:
        return SpanTagger(folder.resolve().name, loaded, folder)
    return encoder_tagger(loaded, folder.resolve().name, folder)


def _exported(folder: Path, device: str | None) -> Tagger:
    """The tagger in a folder of `slonik export`, without torch."""
    from slonik.runtime.tagging.onnx_tagger import OnnxTagger

    if device is not None:
        raise SlonikError(f"{folder} is exported and runs on the processor: leave --device out")
    found = open_model(folder)
    if not isinstance(found, OnnxTagger):
        how = f"`slonik predict {folder}`" if hasattr(found, "predict") else f"`slonik encode {folder}`"
        raise SlonikError(f"{folder} is exported and tags no words: use {how}")
    return found


def _slovnet(device: str | None) -> Tagger:
    if device is not None:
        raise SlonikError(f"{SLOVNET} runs on the processor: leave --device out")
    return SlovnetTagger()


def _bilstm(folder: Path) -> Tagger:
    from slonik.tagging.models.bilstm import load_bilstm

    return load_bilstm(folder)


def _crf(folder: Path) -> Tagger:
    from slonik.tagging.models.feature_crf import FeatureCrf

    return FeatureCrf(folder)


def _ensemble(folder: Path) -> Tagger:
    from slonik.tagging.models.ensemble_tagger import load_ensemble

    return load_ensemble(folder, load_tagger)


_KINDS: dict[str, Callable[[Path], Tagger]] = {"bilstm": _bilstm, "crf": _crf, "ensemble": _ensemble}
