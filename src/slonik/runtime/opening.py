"""What an exported folder holds, opened without torch: an encoder, a model with a head, or a tagger."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from slonik.core.errors import SlonikError
from slonik.core.protocols import LongTexts
from slonik.runtime.encoder import OnnxEncoder, load
from slonik.runtime.head_session import HeadSession, check_belongs
from slonik.runtime.tagging.onnx_tagger import OnnxTagger
from slonik.runtime.task_model import OnnxTaskModel
from slonik.text import TASK_FILE
from slonik.text.lines import read_json
from slonik.text.pairs import PairTokenizer
from slonik.text.task_config import TaskConfig, stock_kind
from slonik.text.tokenizing import load_tokenizer, pad_id

OnnxModel: TypeAlias = OnnxEncoder | OnnxTaskModel | OnnxTagger


def open_model(
    folder: str | Path, *, file: str | None = None, threads: int | None = None, long_texts: LongTexts | None = None
) -> OnnxModel:
    """What the folder says it is: `task.json`, or a config.json that names a head, makes a model with that head.

    Args:
        folder: holds onnx/*.onnx, tokenizer.json, config.json, and `task.json` or the sentence-transformers files.
        file: which onnx file; None takes model_quantized.onnx, else model.onnx, else model_fp16.onnx.
        threads: threads of one call; None = all processors that this process may use.
        long_texts: what happens to texts of more tokens than the model takes; None = as the folder says. Taggers read
            them in windows.

    Raises:
        SlonikError: no such folder or file, a damaged one, an ONNX file of another model; the sentence names it.
    """
    root = Path(folder).expanduser()
    if has_head(root):
        session = HeadSession(root, file=file, threads=threads)
        if session.outputs or (root / TASK_FILE).is_file():
            return _with_head(session, root, str(folder), long_texts)
    options = {"file": file, "threads": threads, "long_texts": long_texts}
    return load(folder, **{name: value for name, value in options.items() if value is not None})  # type: ignore[arg-type]


def has_head(folder: Path) -> bool:
    """Whether the files beside the ONNX file name a head; of other tools' exports only the file itself can tell."""
    if (folder / TASK_FILE).is_file():
        return True
    return stock_kind(read_json(folder / "config.json", optional=True)) is not None


def _with_head(session: HeadSession, root: Path, name: str, long_texts: LongTexts | None) -> OnnxTaskModel | OnnxTagger:
    config = TaskConfig.read(root)
    if config.kind == "text2text":
        raise SlonikError(f"{name} answers in words: use slonik generate, or slonik.generate")
    check_belongs(session, config, root)
    tokenizer = load_tokenizer(root)
    own = read_json(root / "config.json", optional=True)
    _check_vocabulary(session, tokenizer.get_vocab_size(), root)
    length = min(config.max_length, int(session.metadata.get("max_length", config.max_length)))
    padding = pad_id(tokenizer, config_id=own.get("pad_token_id"))
    if config.target == "tags":
        if long_texts not in (None, "average"):
            raise SlonikError(
                f"long_texts is {long_texts!r}, and {name} is a tagger, which reads long texts in windows"
            )
        return OnnxTagger(
            session, config, tokenizer, name=root.resolve().name, source=root, max_length=length, pad_id=padding
        )
    pairs = PairTokenizer(tokenizer, length)
    pairs.pad_id = padding
    return OnnxTaskModel(session, config, pairs, name=name, source=root, long_texts=long_texts)


def _check_vocabulary(session: HeadSession, pieces: int, root: Path) -> None:
    """Refuse a tokenizer with more pieces than the graph has rows, where the exporter wrote how many these are."""
    rows = session.metadata.get("vocabulary")
    if isinstance(rows, int) and pieces > rows:
        raise SlonikError(
            f"the tokenizer of {root} has {pieces} tokens, and {session.file.name} has {rows} rows for them: they do "
            "not belong together; export the checkpoint again"
        )
