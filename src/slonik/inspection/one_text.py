"""Everything that is asked of one model on single texts: attention, what a score hangs on, the lens, neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slonik.core.errors import SlonikError
from slonik.core.records import Record
from slonik.inspection.attention import text_attention
from slonik.inspection.attribution import attribution as attribution_of
from slonik.inspection.inputs import open_transformer
from slonik.inspection.lens import logit_lens
from slonik.inspection.neighbours import layer_neighbours
from slonik.models.encoder import TorchEncoder


@dataclass(frozen=True)
class TextQuestions:
    """What is asked; None = not.

    Attributes:
        attention, attribution, lens, neighbours: the text of each.
        target: what the decoder writes, with `attention`. pair, label, word: of `attribution`.
        layer: of `neighbours`. texts: among which these are looked for.
        prefix: before texts, None = the model's own.
    """

    attention: str | None = None
    target: str | None = None
    attribution: str | None = None
    pair: str | None = None
    label: str | None = None
    word: str | None = None
    lens: str | None = None
    neighbours: str | None = None
    layer: int | None = None
    texts: Sequence[str] = ()
    prefix: str | None = None

    def __post_init__(self) -> None:
        for option, owner in (("target", "attention"), ("pair", "attribution"), ("label", "attribution"),
                              ("word", "attribution"), ("layer", "neighbours")):  # fmt: skip
            if getattr(self, option) is not None and getattr(self, owner) is None:
                owners = "--neighbours or --erase" if option == "layer" else f"--{owner}"
                raise SlonikError(f"--{option} belongs to {owners}: without it leave it out")
        for name in ("attention", "attribution", "lens", "neighbours", "target", "pair"):
            given = getattr(self, name)
            if given is not None and not given.strip():
                raise SlonikError(f"--{name} has no text to look at")

    @property
    def asked(self) -> bool:
        """Whether there is any question."""
        return any(one is not None for one in (self.attention, self.attribution, self.lens, self.neighbours))


def look_at_text(
    model: str | Path,
    questions: TextQuestions,
    *,
    encoder: TorchEncoder | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
) -> list[Record]:
    """Records of everything that is asked, from which the page can be made at any time.

    Args:
        encoder: the model, where it is open already.

    Raises:
        SlonikError: as the functions that answer.
    """
    records: list[Record] = []
    if encoder is None and (questions.attention is not None or questions.neighbours is not None):
        encoder = open_transformer(model, device=device, trust_remote_code=trust_remote_code)
    if questions.attention is not None:
        assert encoder is not None
        records += text_attention(
            encoder, questions.attention, target=questions.target, prefix=questions.prefix
        ).records
    if questions.attribution is not None:
        records += attribution_of(
            model, questions.attribution, pair=questions.pair, label=questions.label, word=questions.word,
            prefix=questions.prefix, device=device, trust_remote_code=trust_remote_code,
        ).records  # fmt: skip
    if questions.lens is not None:
        records += logit_lens(model, questions.lens, trust_remote_code=trust_remote_code).records
    if questions.neighbours is not None:
        assert encoder is not None
        records += layer_neighbours(
            encoder, questions.neighbours, questions.texts, layer=questions.layer, prefix=questions.prefix
        )
    return records
