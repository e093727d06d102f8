"""An encoder with a span head as a tagger: entities inside one another, and types that are described in words.

Every stretch of up to M words has a probability of every type (`SpanScores`); those above one half are entities. Inputs
are windows with context on either side: a window owns the spans that begin in its own words, and sees beyond them.
What may overlap is what did in the training texts: `Overlaps`. Trains nothing.

Shapes: W words of a window, M words of the longest span, C types.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slonik.core.errors import NotNumbers, SlonikError
from slonik.core.hashing import sha256_json
from slonik.core.progress import progress_bar, warn_once
from slonik.core.protocols import FloatArray, LongTexts
from slonik.data.annotations.document import Document, Span
from slonik.data.annotations.tags import Offsets
from slonik.models.modeling_slonik_heads import SpanScores
from slonik.models.task_model import TaskModel
from slonik.runtime.tagging.calibration import Calibration, calibrated
from slonik.runtime.tagging.token_features import TokenFeatures
from slonik.runtime.tagging.windows import Window, segments, shares
from slonik.runtime.tagging.word_tagger import SEGMENT_CHARACTERS
from slonik.text.batching import pad_arrays, token_budget_batches
from slonik.text.tokenizing import check_texts, encode, template_of

SPANS = "spans"
"""The kind of its head."""
Overlaps: TypeAlias = Literal["none", "nested", "crossing"]
"""What spans of one text may do: share no character, lie one within the other, or cross too."""
_THRESHOLD = 0.5
_ANY = 0.01
_BATCH_TOKENS = 2048
_WORTH_A_BAR = 1_000_000  # characters
_ROW = 120  # tokens of descriptions in one row


class SpanFeatures(TokenFeatures):
    """Windows whose fields hold the words after their own ones too, as far as a span can reach.

    Beside those of `Window`, the field `starts` (W,) says which words are the window's own: spans begin there.

    Args:
        width: M. tokenizer, window, overlap: as `TokenFeatures`.
    """

    def __init__(self, tokenizer: Any, *, width: int, window: int = 256, overlap: int = 64) -> None:
        super().__init__(tokenizer, window=window, overlap=overlap)
        self.width = width

    def identity(self) -> str:
        return sha256_json([super().identity(), self.width])

    def windows(
        self, text: str, words: Sequence[Offsets], overlap: int | None = None, own: Sequence[Span] | None = None
    ) -> list[Window]:
        if not words:
            return []
        ids, firsts = self._tokens(text, words)
        head, tail = list(self._template.head), list(self._template.tail)
        found = []
        room = max(1, self.window - self._template.size)
        for share in shares(len(ids), room, self.overlap if overlap is None else overlap):
            places = np.searchsorted(firsts, [share.own_start, share.own_end, share.end], side="left")
            first, stop = int(places[0]), int(places[1])
            if first == stop:
                continue
            seen = min(int(places[2]), stop + self.width - 1)
            row = np.array([*head, *ids[share.start : share.end], *tail], dtype=np.int32)
            fields: dict[str, NDArray[Any]] = {
                "input_ids": row,
                "attention_mask": np.ones(len(row), dtype=np.int8),
                "positions": (firsts[first:seen] - share.start + len(head)).astype(np.int32),
                "word_mask": np.ones(seen - first, dtype=np.bool_),
                "starts": np.arange(seen - first) < stop - first,
            }
            found.append(Window(first, stop, fields))
        return found


@dataclass(frozen=True)
class DescriptionRows:
    """The descriptions of types as rows of tokens.

    Attributes:
        ids: R rows, special tokens around each.
        places: (C, 3) row, first token and the one after the last of each description.
    """

    ids: list[list[int]]
    places: NDArray[np.int64]

    @classmethod
    def of(cls, tokenizer: Any, descriptions: Sequence[str], longest: int = _ROW) -> DescriptionRows:
        """Several to a row of at most `longest` tokens, a comma between.

        Raises:
            SlonikError: a description without a token.
        """
        template = template_of(tokenizer)
        longest = min(longest, _ROW) - template.size
        comma = list(encode(tokenizer, ",").ids)
        rows: list[list[int]] = [list(template.head)]
        places = []
        for text in descriptions:
            whole = list(encode(tokenizer, text).ids)
            ids = whole[: longest - 2]
            if len(ids) < len(whole):
                warn_once(f"the description {text[:40]!r}... has {len(whole)} tokens: the first {len(ids)} are read")
            if not ids:
                raise SlonikError(f"the description {text!r} of a type holds no word: say what it is")
            if len(rows[-1]) + len(comma) + len(ids) > longest and len(rows[-1]) > len(template.head):
                rows.append(list(template.head))
            elif len(rows[-1]) > len(template.head):
                rows[-1] += comma
            places.append((len(rows) - 1, len(rows[-1]), len(rows[-1]) + len(ids)))
            rows[-1] += ids
        return cls([[*row, *template.tail] for row in rows], np.array(places, dtype=np.int64))

    def beside(self, batch: Mapping[str, Tensor], pad: int) -> dict[str, Tensor]:
        """A batch of B windows with these rows after them, and `types` (C, 3), which names rows of the whole."""
        texts, mask = batch["input_ids"], batch["attention_mask"]
        length = max(texts.shape[1], *(len(row) for row in self.ids))
        rows = torch.from_numpy(pad_arrays([*self.ids, [pad] * length], pad, np.int64)[:-1]).to(texts.device)
        own = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in self.ids], dtype=mask.dtype)
        grown = torch.nn.functional.pad(texts, (0, length - texts.shape[1]), value=pad)
        shown = torch.nn.functional.pad(mask, (0, length - mask.shape[1]))
        return {
            **batch,
            "input_ids": torch.cat([grown, rows]),
            "attention_mask": torch.cat([shown, own.to(mask.device)]),
            "types": torch.from_numpy(self.places + [len(texts), 0, 0]),
        }


class SpanTagger:
    """An encoder with a span head, as a `Tagger`.

    Args:
        name: what its records are filed under.
        model: with a head of the kind SPANS; its `config.labels` are the types, `config.details` say `overlap`,
            `overlaps` and `descriptions`.
        folder: where it was loaded from.

    Attributes:
        labels: the types, sorted.
        overlaps: what its spans may do.
        autocast: as `NeuralTagger` has it.
    """

    def __init__(self, name: str, model: TaskModel, folder: Path | None = None) -> None:
        if model.config.kind != SPANS:
            raise SlonikError(f"{name} is a model for {model.config.task!r} without a span head")
        self.name = name
        self.model = model.eval()
        self.folder = folder
        self.types = model.config.labels
        self.labels = tuple(sorted(self.types))
        self.overlaps: Overlaps = model.config.details.get("overlaps", "nested")
        self.descriptions: dict[str, str] = dict(model.config.details.get("descriptions", {}))
        self.autocast: torch.dtype | None = None
        self.features = SpanFeatures(
            model.encoder.tokenizer, width=self.head.width, window=model.max_length,
            overlap=int(model.config.details.get("overlap", 64)),
        )  # fmt: skip
        self.calibration = Calibration.open(folder)

    @property
    def head(self) -> SpanScores:
        head = self.model.head
        assert isinstance(head, SpanScores)
        return head

    @property
    def nested(self) -> bool:
        """Whether its spans may overlap."""
        return self.overlaps != "none"

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.model.device

    def tag(self, texts: Sequence[str]) -> list[list[Span]]:
        """Spans of each text, sorted; they may lie within one another, as those of the training texts did.

        Raises:
            NoTexts: what was given is no list of texts.
            NotNumbers: the network's scores are none.
        """
        check_texts(texts)
        found: list[list[Span]] = [[] for _ in texts]
        total = sum(len(text) for text in texts)
        with progress_bar(f"tagging with {self.name}", total if total > _WORTH_A_BAR else None) as bar:
            for number, text in enumerate(texts):
                for start, end in segments(text, SEGMENT_CHARACTERS):
                    spans = settled(self._stretch(text[start:end], number), self.overlaps)
                    found[number] += [
                        Span(one.start + start, one.end + start, one.label, one.confidence) for one in spans
                    ]
                bar.advance(len(text))
        return calibrated(self.calibration, found)

    def likeliest(self, documents: Sequence[Document]) -> list[list[Span]]:
        """Of each document's text as many likeliest spans as the document has: how far an early training is."""
        found = []
        for document in documents:
            words = self.features.split(document.text)
            windows = self.features.windows(document.text, words)
            pairs = zip(windows, self.probabilities(windows), strict=True)
            spans = [span for window, values in pairs for span in self._spans(window, values, words, _ANY)]
            found.append(sorted(spans, key=lambda span: -(span.confidence or 0.0))[: len(document.spans)])
        return found

    def predict(self, texts: Sequence[str]) -> list[list[Span]]:
        """What `tag` gives: every model with a head has this name for its answers."""
        return self.tag(texts)

    def encode(
        self, texts: Sequence[str], *, prefix: str | None = None, long_texts: LongTexts | None = None
    ) -> FloatArray:
        """Sentence vectors (N, D) of the encoder under the head."""
        return self.model.encode(texts, prefix=prefix, long_texts=long_texts)

    def described(self, types: Mapping[str, str], *, alone: bool = False) -> SpanTagger:
        """A tagger with further types, described in words, that no training text had.

        The encoder and the head are shared with this one. What comes of a type that was never trained depends on how
        near its description is to those that were: measure it before trusting it.

        Args:
            types: label -> description, for example {"SHIP": "название корабля"}.
            alone: find these only.

        Raises:
            SlonikError: no types, a label that the tagger has already or that is none, a description without a word.
        """
        if not types:
            raise SlonikError("give at least one new type: LABEL=its description")
        for label, description in types.items():
            if not isinstance(label, str) or not label.strip() or set(label) & set("\t\r\n"):
                raise SlonikError(f"the new type {label!r} has no name that a format can keep: name it, as SHIP")
            if not isinstance(description, str):
                raise SlonikError(f"the description of {label} is {description!r}: say in words what it is")
        known = sorted(set(types) & set(self.types))
        if known and not alone:
            raise SlonikError(f"the tagger has {known[0]} already: give the new type another name")
        states = self.description_states(list(types.values()))
        config, head = self.model.config, self.head
        kept = () if alone else self.types
        made = SpanScores(states.shape[1], len(kept) + len(types), **config.head).to(self.device)
        state = {name: value for name, value in head.state_dict().items() if name not in ("types", "offsets")}
        before = torch.zeros(0, states.shape[1]) if alone else head.types
        offsets = torch.zeros(0, head.offsets.shape[1]) if alone else head.offsets.detach()
        state["types"] = torch.cat([before.to(states.device), states])
        state["offsets"] = torch.cat(
            [offsets.to(states.device), torch.zeros(len(types), head.offsets.shape[1], device=states.device)]
        )
        made.load_state_dict(state)
        told = {**({} if alone else self.descriptions), **types}
        details = {**config.details, "descriptions": told}
        wanted = config.model_copy(update={"labels": (*kept, *types), "details": details})
        return SpanTagger(self.name, TaskModel(self.model.encoder, made, wanted), self.folder)

    @torch.no_grad()
    def description_states(self, descriptions: Sequence[str]) -> Tensor:
        """(C, D) states of descriptions as the encoder reads them now."""
        rows = DescriptionRows.of(self.model.encoder.tokenizer, descriptions, self.model.max_length)
        nothing = {
            "input_ids": torch.zeros((0, 1), dtype=torch.long, device=self.device),
            "attention_mask": torch.zeros((0, 1), dtype=torch.long, device=self.device),
        }
        batch = rows.beside(nothing, self.model.pad_id)
        with self._mixed():
            hidden = self.model.hidden(batch)
        return self.head.descriptions(hidden.float(), batch["types"])

    def refresh(self) -> None:
        """Store what the encoder makes of the types' descriptions now: after every change of its weights."""
        states = self.description_states([self.descriptions[label] for label in self.types])
        self.head.types.copy_(states)

    def describe(self) -> dict[str, Any]:
        """Facts: kind, learned parameters, bytes on disk, labels, what may overlap, the widest span."""
        learned = sum(parameter.numel() for parameter in self.model.parameters())
        facts: dict[str, Any] = {
            "name": self.name, "kind": SPANS, "parameters": learned, "labels": list(self.labels),
            "overlaps": self.overlaps, "width": self.head.width, "weights_hash": self.model.weights_hash(),
        }  # fmt: skip
        if self.folder is not None:
            facts["bytes"] = sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
        return facts

    def identity(self) -> str:
        """sha256 of everything that decides spans and probabilities."""
        return sha256_json([self.model.identity(), self.features.identity(), str(self.autocast)])

    def _stretch(self, text: str, number: int) -> list[Span]:
        words = self.features.split(text)
        windows = self.features.windows(text, words)
        spans: list[Span] = []
        for window, values in zip(windows, self.probabilities(windows), strict=True):
            if np.isnan(values).any():
                raise NotNumbers(f"text {number + 1}")
            spans += self._spans(window, values, words)
        return spans

    def _spans(
        self, window: Window, values: FloatArray, words: Sequence[Offsets], above: float = _THRESHOLD
    ) -> Iterator[Span]:
        """Spans of a greater probability that begin in a window's own words."""
        owned, seen = window.stop - window.first, len(window.fields["positions"])
        for first, more, kind in zip(*np.nonzero(values[:owned] > above), strict=True):
            if first + more < seen:
                start, end = words[window.first + first][0], words[window.first + first + more][1]
                yield Span(start, end, self.types[kind], float(values[first, more, kind]))

    def probabilities(self, windows: Sequence[Window]) -> list[FloatArray]:
        """(W, M, C) of each window."""
        lengths = [len(window.fields["input_ids"]) for window in windows]
        found: list[FloatArray] = [np.zeros((0, 0, 0), np.float32)] * len(windows)
        for batch in token_budget_batches(lengths, _BATCH_TOKENS):
            fields = {
                name: torch.from_numpy(pad_arrays([windows[index].fields[name] for index in batch])).to(self.device)
                for name in ("input_ids", "attention_mask", "positions")
            }
            with torch.inference_mode(), self._mixed():
                scores = self.model(fields)
            values = scores.float().sigmoid().cpu().numpy()
            for row, index in enumerate(batch):
                found[index] = values[row, : len(windows[index].fields["positions"])]
        return found

    def _mixed(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.autocast or torch.bfloat16, enabled=self.autocast is not None)


def settled(spans: Iterable[Span], overlaps: Overlaps) -> list[Span]:
    """The spans that may stand together, sorted: of two that may not, the surer one stays.

    Args:
        overlaps: "none" keeps no two that share a character, "nested" none that cross, "crossing" all.
    """
    given = list(spans)
    if overlaps == "crossing":
        return sorted(given)
    kept: list[Span] = []
    for span in sorted(given, key=lambda one: (-(one.confidence or 0.0), one)):
        if not any(_clash(span, other, overlaps) for other in kept):
            kept.append(span)
    return sorted(kept)


def overlaps_of(spans: Iterable[Sequence[Span]]) -> Overlaps:
    """What the spans of each text do: "none", "nested", or "crossing" where more than one in twenty overlaps does."""
    nested = crossing = 0
    for own in spans:
        ordered = sorted(own)
        for place, one in enumerate(ordered):
            for other in ordered[place + 1 :]:
                if other.start >= one.end:
                    break
                if other.start > one.start and other.end > one.end:
                    crossing += 1
                else:
                    nested += 1
    if not nested + crossing:
        return "none"
    return "crossing" if crossing > (nested + crossing) / 20 else "nested"


def _clash(one: Span, other: Span, overlaps: Overlaps) -> bool:
    if not one.overlaps(other):
        return False
    if overlaps == "none":
        return True
    return one.start < other.start < one.end < other.end or other.start < one.start < other.end < one.end


def words_of(label: str) -> str:
    """A label as words that an encoder reads: "STATE_OR_PROVINCE" is "state or province"."""
    return label.replace("_", " ").replace("-", " ").strip().lower() or label
