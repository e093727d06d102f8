"""The files beside the graphs: configuration, a tokenizer for other clients, sentence-transformers files, Dockerfile.

The Dockerfile serves the folder without torch; it is written, not built. Its image takes slonik from a wheel in the
same folder where there is one (made from a checkout), else from the package registry.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from slonik.core.files import write_json, write_text
from slonik.core.version import __version__
from slonik.models import TorchEncoder
from slonik.text.lines import read_json
from slonik.text.pipeline_files import transformer_folder

_COPIED = ("config.json", "tokenizer_config.json", "special_tokens_map.json")
# What the library's Nmt step drops and what it turns into a space, as patterns that JavaScript shares.
_DROPPED = "[\u0001-\u0008\u000b\u000e-\u001f\u007f\u008f\u009f]"
_SPACES = "[\t\n\f\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]"
_NMT = [
    {"type": "Replace", "pattern": {"Regex": _DROPPED}, "content": ""},
    {"type": "Replace", "pattern": {"Regex": _SPACES}, "content": " "},
]
_TEMPLATE = """\
# Serves the model in this folder: docker build -t my-encoder . && docker run -p 8000:8000 my-encoder
# slonik from a checkout, not from the registry: first, here, pip wheel --no-deps --wheel-dir . CHECKOUT
FROM python:3.11-slim

# tokenizer.json is always there: COPY needs one file that is, the wheel may be missing
COPY tokenizer.json slonik-{version}-*.whl /tmp/wheels/
RUN pip install --no-cache-dir --find-links /tmp/wheels "slonik[serve]=={version}"
RUN useradd --create-home --uid 10001 slonik

WORKDIR /model
COPY --chown=slonik:slonik . /model

USER slonik
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=3s --start-period=20s \\
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health', timeout=2)"]
CMD ["slonik", "serve", "/model", "--host", "0.0.0.0", "--port", "8000"]
"""
_IGNORED = "Dockerfile\n.dockerignore\n"


def write_companions(encoder: TorchEncoder, folder: Path) -> None:
    """Write configuration, tokenizer and sentence-transformers files of `encoder` into `folder`."""
    assert encoder.source is not None
    inside = transformer_folder(encoder.source)
    for name in _COPIED:
        if (inside / name).is_file():
            shutil.copyfile(inside / name, folder / name)
    write_tokenizer(
        encoder.tokenizer, folder, max_length=encoder.max_length, pad_id=encoder.pad_id,
        lower_case=encoder.sentence.lower_case, truncation_side=encoder.sentence.truncation_side,
    )  # fmt: skip
    saved = replace(encoder.sentence, max_length=encoder.max_length, long_texts=encoder.long_texts)
    saved.write(folder, encoder.hidden_size)


def write_tokenizer(
    tokenizer: Tokenizer,
    folder: Path,
    *,
    max_length: int,
    pad_id: int,
    lower_case: bool = False,
    truncation_side: str = "right",
) -> None:
    """Write `tokenizer.json` and, over what was copied from the checkpoint, `tokenizer_config.json` for other clients.

    They know a length, a padding token and lower case from these two files alone: fastembed and transformers.js do not
    read `sentence_bert_config.json`, and cut nothing, or refuse, where `model_max_length` is 1e30.
    """
    portable(tokenizer, lower_case=lower_case).save(str(folder / "tokenizer.json"), pretty=False)
    config = read_json(folder / "tokenizer_config.json", optional=True)
    config |= {"model_max_length": max_length, "truncation_side": truncation_side}
    config.pop("max_length", None)  # some tools wrote it; the smaller of the two would count
    if config.get("tokenizer_class", "TokenizersBackend") == "TokenizersBackend":
        config["tokenizer_class"] = "PreTrainedTokenizerFast"  # the name that Transformers 4 knows as well
    if not config.get("pad_token") and (token := tokenizer.id_to_token(pad_id)) is not None:
        config["pad_token"] = token
    write_json(folder / "tokenizer_config.json", config)


def portable(tokenizer: Tokenizer, *, lower_case: bool = False) -> Tokenizer:
    """The tokenizer itself, or a copy with normalisers that every client has.

    Nmt, which transformers.js does not know, becomes two replacements; lower case, which other clients would learn from
    nowhere else, is put before everything.
    """
    content: dict[str, Any] = json.loads(tokenizer.to_str())
    normalizer = content.get("normalizer")
    steps: list[dict[str, Any]] = []
    if normalizer:
        steps = normalizer["normalizers"] if normalizer["type"] == "Sequence" else [normalizer]
    if not lower_case and not any(step["type"] == "Nmt" for step in steps):
        return tokenizer
    replaced = [new for step in steps for new in (_NMT if step["type"] == "Nmt" else [step])]
    replaced = [{"type": "Lowercase"}] * lower_case + replaced
    content["normalizer"] = {"type": "Sequence", "normalizers": replaced}
    return Tokenizer.from_str(json.dumps(content, ensure_ascii=False))


def write_dockerfile(folder: Path) -> None:
    """Write `Dockerfile` and `.dockerignore` into `folder`."""
    write_text(folder / "Dockerfile", _TEMPLATE.format(version=__version__))
    write_text(folder / ".dockerignore", _IGNORED)
