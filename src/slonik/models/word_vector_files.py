"""What a file of word vectors is, by its content, and whether it is whole: before gensim, which reads on regardless.

gensim takes a single number in a line for a whole vector, waits for ever for the end of a word that is cut, and reads
text with commas in its numbers as the binary format. Each of these is refused here, with the line where there is one.
Does not read the vectors themselves (`word_vectors`).
"""

from __future__ import annotations

import pickle
import re
import struct
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Literal

from slonik.core.errors import SlonikError
from slonik.text.lines import open_bytes

Format = Literal["word2vec", "word2vec binary", "text without a first line", "fasttext", "navec"]
FORMATS = "word2vec's text or binary format (.vec, .txt, .bin, also .gz), fastText's .bin, navec's .tar"

_FASTTEXT_MAGIC = struct.pack("<i", 793712314)
_FASTTEXT_HEADER = struct.Struct("<2i12id3i2q")  # magic, version, arguments, counts of the dictionary
_PEEK = 1 << 20
_SAMPLE = 1 << 12
_LONGEST_WORD = 1 << 16  # bytes
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_AGAIN = "fetch or write it again"


def format_of(path: Path) -> Format:
    """What a file is.

    Raises:
        SlonikError: it cannot be read, is empty, a pickle, an archive, or nothing that is known.
    """
    try:
        with open_bytes(path) as stream:
            start = stream.read(_PEEK)
    except (OSError, EOFError) as error:
        raise SlonikError(f"cannot read {path} ({error}): fetch it again") from None
    if not start:
        raise SlonikError(f"{path} is empty: give a file of word vectors, {FORMATS}")
    if start.startswith(_FASTTEXT_MAGIC):
        return "fasttext"
    if start[:1] == pickle.PROTO:
        raise SlonikError(
            f"{path} is a pickle (gensim's own .model or .kv), which can run code and is not read: write it again with "
            "KeyedVectors.save_word2vec_format"
        )
    if start.startswith((b"PK\x03\x04", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf")):
        raise SlonikError(f"{path} is an archive: unpack it and give the file of vectors inside ({FORMATS})")
    if start.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise SlonikError(f"{path} begins with a byte order mark, as some editors write it: save it as UTF-8 without")
    if start[257:262] == b"ustar":
        return "navec"
    line, _, rest = start.partition(b"\n")
    fields = line.split()
    if len(fields) == 2 and all(part.isdigit() for part in fields):
        second = rest.partition(b"\n")[0]
        text = _numbers_of(second) == int(fields[1]) or (_numbers_of(second) > 0 and not _CONTROL.search(second))
        return "word2vec" if text or _is_text(rest[:_SAMPLE]) else "word2vec binary"
    if _numbers_of(line) >= 2:
        return "text without a first line"
    raise SlonikError(
        f"{path} holds no word vectors that are known here: its first line is neither \"WORDS DIMENSIONS\" nor a word "
        f"with its numbers; give {FORMATS}"
    )  # fmt: skip


def _numbers_of(line: bytes) -> int:
    """How many numbers stand behind the word of a text line; 0 for what is no such line."""
    try:
        fields = line.decode("utf-8", errors="replace").split(" ")
        fields = fields[:-1] if fields[-1].strip() == "" else fields
        return len([float(part) for part in fields[1:]])
    except ValueError:
        return 0


def _is_text(sample: bytes) -> bool:
    """Whether these bytes are UTF-8 without control characters, as binary numbers hardly ever are."""
    try:
        sample[: max(0, len(sample) - 3)].decode("utf-8")
    except UnicodeDecodeError as error:
        if error.reason != "unexpected end of data":
            return False
    return bool(sample.strip()) and not _CONTROL.search(sample)


def _announced(stream: IO[bytes], path: Path) -> tuple[int, int]:
    """Words and numbers of a vector as the first line has them."""
    words, size = (int(part) for part in stream.readline().split())
    if words == 0 or size == 0:
        raise SlonikError(f"{path} announces {words} words of {size} numbers in its first line: it holds nothing")
    return words, size


def check_text(path: Path, bare: bool, limit: int | None = None) -> tuple[int, str]:
    """(words that are announced, or found where none are, what stands behind them) of a text file.

    Args:
        bare: there is no first line that announces. limit: look at the lines of so many words only.

    Raises:
        SlonikError: a line with other than the file's count of numbers or a blank one, fewer lines than announced.
    """
    with open_bytes(path) as stream:
        words, size = (None, _usual(path)) if bare else _announced(stream, path)
        first = 1 if bare else 2
        blank, count = 0, 0
        asked = limit if words is None else min(words, limit or words)
        for number, line in enumerate(stream, first):
            if not line.strip():
                blank = blank or number
                continue
            if blank:
                raise SlonikError(f"{path}, line {blank} is blank: the file is damaged; {_AGAIN}")
            count += 1
            if (found := line.rstrip().count(b" ")) != size:
                raise SlonikError(_other_size(path, number, found, size, bare))
            if count == asked:
                break
        more = 0 if limit else sum(1 for line in stream if line.strip())
    if words is not None and count < min(words, limit or words):
        raise SlonikError(
            f"{path} announces {words:,} words in its first line, and {count:,} follow: it is cut short, or that line "
            f"is damaged; {_AGAIN}"
        )
    return words or count, f"{more:,} lines" if more else ""


def _usual(path: Path) -> int:
    """How many numbers most of the first lines have."""
    with open_bytes(path) as stream:
        counts = Counter(line.rstrip().count(b" ") for line in islice(stream, 100))
    return counts.most_common(1)[0][0]


def _other_size(path: Path, number: int, found: int, size: int, bare: bool) -> str:
    if not bare and number == 2:  # the first vector already
        return (
            f"{path} announces vectors of {size} numbers in its first line, and the one of line 2 has {found}: one of "
            f"these lines is damaged; {_AGAIN}"
        )
    what = f"{found} numbers, where the file's vectors have {size}"
    return f"{path}, line {number}: {what}: the file is damaged; {_AGAIN}"


def no_number(path: Path) -> str:
    """The line of a text file that holds what is no number, and what, in words; "" where there is none."""
    with open_bytes(path) as stream:
        for number, line in enumerate(stream, 1):
            for part in line.decode("utf-8", errors="replace").split()[1:]:
                try:
                    float(part)
                except ValueError:
                    return f"line {number}: {part[:40]!r} is no number"
    return ""


def check_binary(path: Path, limit: int | None = None) -> tuple[int, str]:
    """(words that are announced, what stands behind them) of a file of word2vec's binary format.

    Args:
        limit: look at so many words only.

    Raises:
        SlonikError: the file ends before its words do, or a word does not end.
    """
    with open_bytes(path) as stream:
        words, size = _announced(stream, path)
        buffer = _Buffer(stream)
        for done in range(min(words, limit or words)):
            length = buffer.until(b" ")
            if length > _LONGEST_WORD:
                raise SlonikError(
                    f"{path}: word {done + 1:,} does not end: the first line, which announces vectors of {size} "
                    f"numbers, or the file is damaged; {_AGAIN}"
                )
            if length < 0 or not buffer.skip(4 * size):
                raise SlonikError(
                    f"{path} announces {words:,} words of {size} numbers in its first line, and ends in word "
                    f"{done + 1:,}: it is cut short, or that line is damaged; {_AGAIN}"
                )
        left = 0 if limit else buffer.rest()
    return words, f"{left:,} bytes" if left else ""


def check_fasttext(path: Path) -> None:
    """That a fastText file is as long as its header and dictionary say.

    Raises:
        SlonikError: it is not, has classes instead of words, or a header that cannot be.
    """
    short = SlonikError(
        f"{path} ends before the words and vectors that its header announces: it is cut short; {_AGAIN}"
    )
    with open_bytes(path) as stream:
        head = stream.read(_FASTTEXT_HEADER.size)
        if len(head) < _FASTTEXT_HEADER.size:
            raise short
        _, version, size, *others, _, pruned = _FASTTEXT_HEADER.unpack(head)
        words, labels = others[-3], others[-1]
        if labels > 0:
            raise SlonikError(f"{path} is a fastText classifier, whose vectors are of its classes: give word vectors")
        if not (0 < size <= 1 << 16 and words > 0 and version > 0):
            raise SlonikError(
                f"{path} has the header of fastText, version {version}, with {words:,} words of {size:,} numbers: it "
                f"is damaged; {_AGAIN}"
            )
        buffer = _Buffer(stream)
        for _ in range(words):
            if not 0 <= buffer.until(b"\0") <= _LONGEST_WORD or not buffer.skip(9):
                raise short
        if not buffer.skip(8 * max(0, pruned)):
            raise short
        shape = buffer.take(17)
        if len(shape) < 17:
            raise short
        rows, columns = struct.unpack("<2q", shape[1:])
        if columns != size or rows < words:
            raise SlonikError(
                f"{path} has a table of {rows:,} vectors of {columns:,} numbers for {words:,} words of {size}: it is "
                f"quantised (.ftz), which is not read, or damaged; {_AGAIN}"
            )
        if not buffer.skip(4 * rows * columns):
            raise short


class _Buffer:
    """A stream that is looked through in blocks."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._blocks: Iterator[bytes] = iter(lambda: stream.read(_PEEK), b"")
        self._block = b""
        self._at = 0

    def _more(self) -> bool:
        self._block, self._at = next(self._blocks, b""), 0
        return bool(self._block)

    def until(self, mark: bytes) -> int:
        """Bytes before the mark, which is passed too; negative where there is none."""
        passed = 0
        while (end := self._block.find(mark, self._at)) < 0:
            passed += len(self._block) - self._at
            if passed > _LONGEST_WORD:
                return passed
            if not self._more():
                return -1
        passed += end - self._at
        self._at = end + len(mark)
        return passed

    def skip(self, count: int) -> bool:
        """Whether there were so many bytes."""
        passed = 0
        while passed < count and (self._at < len(self._block) or self._more()):
            step = min(count - passed, len(self._block) - self._at)
            self._at += step
            passed += step
        return passed == count

    def take(self, count: int) -> bytes:
        """The next bytes, at most so many."""
        found = b""
        while len(found) < count and (self._at < len(self._block) or self._more()):
            part = self._block[self._at : self._at + count - len(found)]
            self._at += len(part)
            found += part
        return found

    def rest(self) -> int:
        """How many bytes but blanks around them are left."""
        return len(self._block[self._at :].strip()) + sum(len(block.strip()) for block in self._blocks)
