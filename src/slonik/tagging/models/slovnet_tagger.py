"""slovnet's tagger of Russian news as a `Tagger`: people, places, organisations, from the files that natasha carries.

The bare name `slovnet` opens it. It was trained on silver labels of a BERT over news; its spans are silver labels for
others (`slonik tag slovnet texts.txt --out silver.jsonl`) and features of a CRF (`advisers`). A text takes some 50 ms,
without torch. It gives no probabilities: the confidence of its spans is 1.

Source: https://github.com/natasha/slovnet (Kukushkin 2020), MIT.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError
from slonik.core.identity import Identity, file_identity
from slonik.data.annotations.document import Span
from slonik.data.natasha_package import NAVEC, NER, natasha_file
from slonik.runtime.tagging.windows import segments
from slonik.text.tokenizing import check_texts

SLOVNET = "slovnet"
_LONGEST = 20_000  # characters of one call


class SlovnetTagger:
    """The tagger of news in the installed natasha.

    Raises:
        MissingExtra: navec, slovnet or razdel is missing.
        SlonikError: natasha is not installed.
    """

    name = SLOVNET
    labels: tuple[str, ...] = ("LOC", "ORG", "PER")
    folder: Path | None = None

    def __init__(self) -> None:
        self._files = (natasha_file(NER, "the tagger slovnet"), natasha_file(NAVEC, "the tagger slovnet"))
        self._network = _network(*map(str, self._files))

    def tag(self, texts: Sequence[str]) -> list[list[Span]]:
        """Spans of each text, sorted and disjoint."""
        check_texts(texts)
        return [self._spans(text) for text in texts]

    def describe(self) -> dict[str, Any]:
        """Facts: kind, bytes of its files, labels."""
        size = sum(path.stat().st_size for path in self._files)
        return {"kind": SLOVNET, "parameters": None, "bytes": size, "labels": list(self.labels)}

    def identity(self) -> str:
        return str(slovnet_identity())

    def _spans(self, text: str) -> list[Span]:
        found = []
        for start, end in segments(text, _LONGEST):
            if not text[start:end].strip():
                continue
            for span in self._network(text[start:end]).spans:
                found.append(Span(start + span.start, start + span.stop, str(span.type), 1.0))
        return sorted(found)


def slovnet_identity() -> Identity:
    """Of the files that decide its spans."""
    feature = "the tagger slovnet"
    files = {"tagger": natasha_file(NER, feature), "vectors": natasha_file(NAVEC, feature)}
    return Identity.of({name: str(file_identity(path)) for name, path in files.items()})


@functools.cache
def _network(tagger: str, vectors: str) -> Any:
    from navec import Navec
    from slovnet import NER as Network

    try:
        network = Network.load(tagger)
        network.navec(Navec.load(vectors))
    except (OSError, ValueError, KeyError) as error:
        raise SlonikError(f"{tagger} cannot be read ({error}): install natasha again") from None
    return network
