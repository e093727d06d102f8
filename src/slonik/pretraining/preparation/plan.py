"""The plan of a preparation: parts, settings, and where in the work folder each task finds and leaves its files."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from slonik.core.hashing import sha256_json
from slonik.pretraining.corpus import CorpusSettings
from slonik.pretraining.preparation.parts import Part

_READING = ("column", "border", "cleaning", "language", "drop_other_languages")
"""Fields that decide what is left of a part before other parts are looked at."""
_NOT_DECIDING = ("files", "max_documents")
EXAMPLE = 160


@dataclass(frozen=True)
class Plan:
    """Everything that tasks share; small, for each is handed it.

    Attributes:
        work: path or URL of the work folder.
        parts: what the tasks read.
        settings: what is done to it.
        tokenizer: SHA-256 of the tokenizer; None = documents are written, not tokens.
        vocabulary: more than its ids.
        code: hash of the code that runs.
    """

    work: str
    parts: tuple[Part, ...]
    settings: CorpusSettings
    tokenizer: str | None
    vocabulary: int
    code: str

    @cached_property
    def key(self) -> str:
        """Hash of everything that decides the result."""
        return sha256_json([[part.key for part in self.parts], self._deciding])

    @property
    def _deciding(self) -> list[Any]:
        settings = self.settings.model_dump(mode="json", exclude=set(_NOT_DECIDING))
        return [settings, self.tokenizer, self.code]

    def result_key(self, content: str) -> str:
        """Hash of everything that decides the tokens.

        Args:
            content: hash of the cleaned documents.
        """
        return sha256_json([content, self._deciding])

    @property
    def root(self) -> str:
        """Folder of what depends on all parts."""
        return f"plan-{self.key[:12]}"

    def cleaned(self, part: int) -> str:
        """Folder of what is left of a part: kept where only other parts have changed."""
        reading = self.settings.model_dump(mode="json", include=set(_READING))
        return f"cleaned-{sha256_json([self.parts[part].key, reading, self.code])[:20]}"

    def logs(self, stage: str) -> str:
        """Path or URL of a stage's folder of logs."""
        return f"{self.work.rstrip('/')}/{self.root}/logs-{stage}"

    def marks(self, kind: str, part: int) -> str:
        """File of the marks of a part."""
        return f"{self.cleaned(part)}/exact.marks" if kind == "exact" else f"{self.root}/near/{part:06d}.marks"

    def found(self, kind: str, bucket: int) -> str:
        """File of the duplicates that the task of a bucket has found."""
        return f"{self.root}/{kind}-found/{bucket:06d}.places"

    def made(self, part: int) -> str:
        """Folder of a part's share of the result."""
        return f"{self.root}/made/{part:06d}"

    @property
    def tokenizer_file(self) -> str:
        """File of the tokenizer, as JSON."""
        return f"{self.root}/tokenizer.json"


@dataclass
class Tally:
    """Documents counted, and those left out by reason, each with the beginning of the first.

    Attributes:
        counts: name -> how many.
        examples: reason -> the beginning of a document.
    """

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, number: int = 1) -> None:
        """Count."""
        self.counts[name] = self.counts.get(name, 0) + number

    def drop(self, reason: str, text: str) -> None:
        """Count a document that is left out."""
        self.add(f"dropped_{reason}")
        if reason not in self.examples:
            self.examples[reason] = " ".join(text[: 2 * EXAMPLE].split())[:EXAMPLE]

    def merge(self, content: dict[str, Any]) -> None:
        """Add what `json` gave of another one."""
        for name, number in content["counts"].items():
            self.add(name, number)
        for reason, text in content["examples"].items():
            self.examples.setdefault(reason, text)

    def json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"counts": self.counts, "examples": self.examples}
