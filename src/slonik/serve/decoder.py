"""A decoder from a checkpoint folder, behind the Generator protocol: the one module here that needs torch.

Tokens are drawn one at a time with the model's key-value cache. Needs the extra `train`; `slonik.serve` itself
stays without torch, since this module is imported only when a decoder is served.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slonik.core.errors import MissingExtra, SlonikError


def is_decoder(model: str | Path) -> bool:
    """Whether the folder `model` holds a causal language model, by the architecture its config.json names."""
    try:
        config = json.loads((Path(model) / "config.json").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        return False
    names = config.get("architectures") if isinstance(config, dict) else None
    return any(str(name).endswith(("ForCausalLM", "LMHeadModel")) for name in names or ())


def load_decoder(folder: str | Path) -> TorchDecoder:
    """The decoder in `folder`.

    Raises:
        MissingExtra: torch or transformers is not installed.
        SlonikError: the weights or the tokenizer are missing or broken.
    """
    try:
        import torch
        from tokenizers import Tokenizer
        from transformers import AutoModelForCausalLM
    except ModuleNotFoundError as error:
        raise MissingExtra("serving a decoder", "train", error.name) from None
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
    except Exception as error:  # transformers and tokenizers raise many kinds
        reason = " ".join(str(error).split())
        raise SlonikError(f"cannot load the decoder {folder}: {reason}") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    return TorchDecoder(Path(folder).name, model, tokenizer)


class TorchDecoder:
    """A causal language model of transformers as a `Generator`.

    Args:
        name: what it is called.
        model: the model; put into eval mode.
        tokenizer: its tokenizer.
    """

    def __init__(self, name: str, model: Any, tokenizer: Any) -> None:
        self.name = name
        self.tokenizer = tokenizer
        self.model = model.eval()
        self.max_tokens: int = int(
            getattr(model.config, "max_position_embeddings", 0) or getattr(model.config, "n_positions", 0) or 2048
        )
        end = model.generation_config.eos_token_id if model.generation_config else model.config.eos_token_id
        self._ends = frozenset(end if isinstance(end, list) else [] if end is None else [end])

    def count_tokens(self, text: str) -> int:
        """Tokens of `text`, as a prompt."""
        return len(self._prompt_ids(text))

    def generate(self, prompt: str, *, max_tokens: int, temperature: float = 1.0, top_p: float = 1.0) -> Iterator[str]:
        """Pieces of the continuation, one per token; empty while a character is not complete.

        Args:
            max_tokens: the most tokens to write; fewer where the context ends.
            temperature: 0 = the likeliest token each time.
            top_p: draw from the likeliest tokens of this joint probability (nucleus sampling, Holtzman et al. 2020).

        Raises:
            SlonikError: the prompt alone fills the model's context.
        """
        import torch

        ids = self._prompt_ids(prompt)
        if len(ids) >= self.max_tokens:
            raise SlonikError(f"the prompt has {len(ids)} tokens: send fewer than {self.max_tokens}")
        written: list[int] = []
        sent = ""
        cache = None
        step = torch.tensor([ids], device=self.model.device)
        for _ in range(min(max_tokens, self.max_tokens - len(ids))):
            with torch.inference_mode():
                output = self.model(input_ids=step, past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            token = _draw(output.logits[0, -1].float().cpu(), temperature, top_p)
            if token in self._ends:
                return
            written.append(token)
            step = torch.tensor([[token]], device=self.model.device)
            text = self._decode(ids, written)
            whole = text[:-1] if text.endswith("\ufffd") else text
            piece = whole[len(sent) :] if whole.startswith(sent) else ""
            sent += piece
            yield piece

    def _prompt_ids(self, prompt: str) -> list[int]:
        """Ids of the prompt; a final special (end of text), which a tokenizer may add, is left out."""
        ids: list[int] = self.tokenizer.encode(prompt).ids
        while len(ids) > 1 and ids[-1] in self._ends:
            ids.pop()
        return ids

    def _decode(self, ids: list[int], written: list[int]) -> str:
        """Text of `written`; decoded after the prompt's last token, so that a leading space is kept."""
        before = self.tokenizer.decode(ids[-1:])
        text: str = self.tokenizer.decode(ids[-1:] + written)
        return text[len(before) :] if text.startswith(before) else self.tokenizer.decode(written)


def _draw(logits: Any, temperature: float, top_p: float) -> int:
    """One token id from logits (V,)."""
    import torch

    if temperature == 0:
        return int(logits.argmax())
    probabilities = torch.softmax(logits / temperature, dim=-1)
    if top_p < 1:
        ordered, order = probabilities.sort(descending=True)
        ordered[ordered.cumsum(0) - ordered >= top_p] = 0  # the first token always stays
        probabilities = torch.zeros_like(probabilities).scatter(0, order, ordered)
    return int(torch.multinomial(probabilities, 1))
