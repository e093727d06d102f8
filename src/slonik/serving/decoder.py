"""A decoder from a checkpoint folder, behind the Generator protocol: what `slonik generate` writes with, served.

How text is written is `slonik.models.text_generator`'s business; this is only its face towards the queue. Needs the
extra `train`; `slonik.serving` itself stays without torch, since the writer is imported only when a decoder is served.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from slonik.core.errors import MissingExtra, SlonikError

if TYPE_CHECKING:
    from slonik.models.text_generator import TextGenerator


def is_decoder(model: str | Path) -> bool:
    """Whether the folder `model` holds a causal language model, by the architecture its config.json names."""
    try:
        config = json.loads((Path(model) / "config.json").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        return False
    names = config.get("architectures") if isinstance(config, dict) else None
    return any(str(name).endswith(("ForCausalLM", "LMHeadModel")) for name in names or ())


def load_decoder(folder: str | Path) -> TorchDecoder:
    """The decoder in `folder`, called by the folder's name; its weights stay in the type that they are stored in.

    Raises:
        MissingExtra: torch or transformers is not installed.
        SlonikError: the weights or the tokenizer are missing or broken.
    """
    try:
        from slonik.models.text_generator import load_generator
    except ModuleNotFoundError as error:
        raise MissingExtra("serving a decoder", "train", error.name) from None
    try:
        writer = load_generator(folder, dtype="auto")
    except SlonikError as error:
        raise SlonikError(f"cannot load the decoder {folder}: {error}") from None
    writer.name = Path(folder).name  # clients are told it; they need not know the path
    return TorchDecoder(writer)


class TorchDecoder:
    """A `TextGenerator` as a `Generator`.

    Args:
        writer: a causal language model with its tokenizer.

    Attributes:
        max_tokens: the most tokens of prompt and continuation together.
    """

    def __init__(self, writer: TextGenerator) -> None:
        self.writer = writer
        self.name = writer.name
        self.max_tokens = writer.context

    def count_tokens(self, text: str) -> int:
        """Tokens of `text`, as a prompt.

        Raises:
            SlonikError: it fills the model's context.
        """
        return len(self.writer.prompt_ids(text))

    def generate(self, prompt: str, *, max_tokens: int, temperature: float = 1.0, top_p: float = 1.0) -> Iterator[str]:
        """Pieces of the continuation, one per token; empty while a character is not complete. Drawn anew each time.

        Args:
            max_tokens: the most tokens to write; fewer where the context ends.
            temperature: 0 = the likeliest token each time.
            top_p: draw from the likeliest tokens of this joint probability (nucleus sampling, Holtzman et al. 2020).

        Raises:
            SlonikError: the prompt alone fills the model's context.
        """
        from slonik.models.sampling import SamplingConfig

        sampling = SamplingConfig(
            max_tokens=max_tokens, temperature=temperature, top_p=top_p, seed=secrets.randbits(63)
        )
        return self.writer.generate(prompt, sampling, rest=False)
