"""Read text files line by line, strictly: UTF-8 or an error that names the file, the line and a likely encoding.

Does: plain and gzip files, byte-order marks, CR LF, and clear errors for NUL bytes, other encodings, damaged gzip
streams and files that are one endless line; JSON that stays one line whoever reads it. Memory stays at one line.
Does not: know about columns or records, repair or skip broken lines.
"""

from __future__ import annotations

import codecs
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from slonik.core.errors import SlonikError

#: The longest line that is read, in bytes. A whole novel on one line fits; a dump without line breaks does not.
MAX_LINE_BYTES = 16 * 1024 * 1024

#: Encodings in which Russian text is still met, tried when a line is not UTF-8.
_CYRILLIC_ENCODINGS = ("cp1251", "koi8_r", "cp866", "iso8859_5", "mac_cyrillic")

#: Line ends to Unicode, which json.dumps leaves as they are.
_LINE_ENDS = "\x85\u2028\u2029"

#: The letters that make up two thirds of any Russian text: a right guess shows many of them, a wrong one few.
_COMMON_LETTERS = frozenset("оеаинтсрвл")


def guess_encoding(sample: bytes) -> str | None:
    """Name the encoding that `sample` looks to be in, or None when nothing fits well.

    Byte-order marks decide first, then NUL bytes as UTF-16 has them; otherwise the Cyrillic encoding whose reading has
    the largest share of the ten commonest Russian letters wins, if that share looks like Russian at all.
    """
    if sample.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):  # the former begins as UTF-16 does
        return "utf-32"
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    for name, first in (("utf-16le", 1), ("utf-16be", 0)):
        upper = sample[first::2]  # bytes that say which block of letters: Latin is 0, Cyrillic 4
        if b"\x00" in sample and len(upper) > 1 and sum(byte in (0, 4) for byte in upper) >= 0.9 * len(upper):
            return name
    best, best_share = None, 0.3
    for encoding in _CYRILLIC_ENCODINGS:
        letters = [c for c in sample.decode(encoding, errors="replace") if ord(c) > 127]
        share = sum(c in _COMMON_LETTERS for c in letters) / max(len(letters), 1)
        if share > best_share:
            best, best_share = encoding, share
    return best


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for reading bytes, through gzip when its name ends in `.gz`.

    Raises SlonikError when the file is missing, is a folder, or cannot be read.
    """
    if not path.exists():
        raise SlonikError(f"file not found: {path}")
    if path.is_dir():
        raise SlonikError(f"{path} is a folder where a file is needed")
    try:
        return cast(IO[bytes], gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb"))
    except OSError as error:
        raise SlonikError(f"cannot read {path}: {error.strerror or error}") from error


def numbered_lines(path: Path, *, max_line_bytes: int = MAX_LINE_BYTES) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line without its line break) of a UTF-8 file; blank lines are included.

    Raises SlonikError for a line that is not UTF-8, holds a NUL byte or is longer than `max_line_bytes`, and for a
    gzip file that is damaged or cut short.
    """
    with open_bytes(path) as stream:
        number = 0
        while True:
            raw = _read_line(stream, path, max_line_bytes)
            if not raw:
                return
            number += 1
            if number == 1 and raw.startswith(codecs.BOM_UTF8):
                raw = raw[len(codecs.BOM_UTF8) :]
            if len(raw) > max_line_bytes:
                raise SlonikError(
                    f"{path}, line {number}: longer than {max_line_bytes:,} bytes; a corpus has one sentence, "
                    f"paragraph or document a line: split the file into lines"
                )
            yield number, _decode(raw, path, number)


def _read_line(stream: IO[bytes], path: Path, max_line_bytes: int) -> bytes:
    """Read one line, never more than the limit and one byte."""
    try:
        return stream.readline(max_line_bytes + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SlonikError(f"{path} is not a whole gzip file ({error}); fetch or write it again") from error
    except OSError as error:
        raise SlonikError(f"cannot read {path}: {error.strerror or error}") from error


def _decode(raw: bytes, path: Path, number: int) -> str:
    """Decode one line strictly; see `numbered_lines` for the errors."""
    if number == 1 and raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise SlonikError(_encoding_sentence(path, number, guess_encoding(raw)))
    if b"\x00" in raw:
        if (wide := _wide_encoding(path)) is not None:
            raise SlonikError(_encoding_sentence(path, number, wide))
        raise SlonikError(
            f"{path}, line {number}: holds a NUL byte, so this is a binary file or not UTF-8; "
            f"give plain UTF-8 text (remove NUL bytes with: tr -d '\\000')"
        )
    try:
        return raw.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        guess = guess_encoding(raw)
        raise SlonikError(_encoding_sentence(path, number, guess, raw[error.start])) from error


def _wide_encoding(path: Path) -> str | None:
    """UTF-16 without a byte-order mark, where a file begins like it: a later line may begin half a unit in."""
    with open_bytes(path) as stream:
        guess = guess_encoding(stream.read(4096))
    return guess if guess in ("utf-16le", "utf-16be") else None


def _encoding_sentence(path: Path, number: int, guess: str | None, byte: int | None = None) -> str:
    """The sentence of an encoding error, with the command that repairs the file when there is a guess."""
    where = f"{path}, line {number}: not UTF-8" + (f" (byte 0x{byte:02X})" if byte is not None else "")
    if guess is None:
        return f"{where}; convert the file to UTF-8 first"
    name = guess.replace("_", "-")
    unpacked = "unpacked file" if path.suffix == ".gz" else "file"
    return f"{where}; it looks like {name}: convert the {unpacked} with: iconv -f {name} -t utf-8 OLD > NEW"


def json_lines(path: Path, *, keys_once: bool = False) -> Iterator[tuple[str, Any]]:
    """Yield ("PATH, line N" for the sentences of errors, value) of each line of JSON; blank lines are skipped.

    Args:
        keys_once: as `json_with_keys_once` reads it, which takes longer.

    Raises SlonikError for a line that is not JSON, and for what `numbered_lines` raises.
    """
    read = json_with_keys_once if keys_once else json.loads
    for number, line in numbered_lines(path):
        if line.strip():
            where = f"{path}, line {number}"
            try:
                yield where, read(line)
            except KeyTwice as error:
                raise SlonikError(f"{where}: {error}") from None
            except ValueError as error:
                raise SlonikError(f"{where}: not JSON ({error})") from None


class KeyTwice(ValueError):
    """An object of JSON has one key with two values."""


def json_with_keys_once(text: str) -> Any:
    """The value of a text of JSON.

    Raises:
        KeyTwice: an object has a key twice, of which Python's own reader takes the last in silence.
        ValueError: it is not JSON.
    """
    return json.loads(text, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise KeyTwice(f"the key {twice!r} is there twice, with a value each: keep one of them")
    return found


def json_line(value: Any) -> str:
    """JSON with real letters on one line, whatever a reader takes for a line end; escapes for half surrogate pairs."""
    line = json.dumps(value, ensure_ascii=False)
    for sign in _LINE_ENDS:
        line = line.replace(sign, f"\\u{ord(sign):04x}")
    try:
        line.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(value)
    return line


def read_json(path: Path, kind: type = dict, *, optional: bool = False) -> Any:
    """The object (or list) in a JSON file of a checkpoint; an empty one where there is no file and `optional`.

    Raises:
        SlonikError: it is not readable, not JSON, or not a `kind`.
    """
    if optional and not path.is_file():
        return kind()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SlonikError(f"{path} is not readable JSON ({error}): repair it or fetch the checkpoint again") from None
    if not isinstance(content, kind):
        raise SlonikError(f"{path} holds no JSON {'object' if kind is dict else 'list'}: fetch the checkpoint again")
    return content
