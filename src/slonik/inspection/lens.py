"""Logit lens: what a language model would predict if it ended after each layer (nostalgebraist 2020).

The state of every layer, with the model's final norm where it has one, goes through its own head; the last layer gives
exactly the model's prediction. Of an encoder every token is masked in turn (or the mask tokens of the text are read, if
it has some); of a decoder each place predicts the token after it.

Shapes: T tokens, P places, L layers (0 = what goes into the first), V tokens of the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from slonik.core.errors import SlonikError
from slonik.core.records import Record
from slonik.inspection import inspection_record
from slonik.inspection.text_tokens import TextTokens, read_tokens, shown_token
from slonik.models.language_model import LanguageModel, load_language_model
from slonik.text.tokenizing import special_id

_NORMS = ("ln_f", "final_norm", "final_layer_norm", "norm", "ln_out", "layer_norm", "LayerNorm")
_TOP = 5
_BATCH = 16


@dataclass(frozen=True)
class Lens:
    """What each layer predicts at each place.

    Attributes:
        tokens: the text. places: numbers of its tokens that are predicted. truths: their ids.
        top: (L + 1, P, 5) ids of the likeliest tokens. probabilities: theirs.
        truth: (L + 1, P) probability of the token that stands there. rank: its place, 1 = the likeliest.
    """

    model: str
    kind: str
    tokens: TextTokens
    places: tuple[int, ...]
    truths: tuple[int, ...]
    top: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    truth: NDArray[np.float64]
    rank: NDArray[np.int64]
    names: dict[int, str]

    @property
    def records(self) -> tuple[Record, ...]:
        """A record per layer: mean log probability of the true tokens, with the likeliest ones in `detail`."""
        made = []
        for layer, (top, sure, truth, rank) in enumerate(
            zip(self.top, self.probabilities, self.truth, self.rank, strict=True)
        ):
            cells = [
                {"top": [[self.names[int(i)], round(float(p), 5)] for i, p in zip(top[k], sure[k], strict=True)],
                 "truth": round(float(truth[k]), 6), "rank": int(rank[k])}
                for k in range(len(self.places))
            ]  # fmt: skip
            detail: dict[str, Any] = {"kind": self.kind, "cells": cells, "places": list(self.places)}
            detail |= {"truths": [self.names[i] for i in self.truths]}
            detail |= self.tokens.detail() if layer == 0 else {}
            value = float(np.log(np.maximum(truth, 1e-30)).mean())
            made.append(inspection_record(self.model, "text", "lens", "log_probability", value, layer=layer,
                                          n=len(self.places), detail=detail))  # fmt: skip
        return tuple(made)


def logit_lens(model: str | Path | LanguageModel, text: str, *, trust_remote_code: bool = False) -> Lens:
    """Every layer's prediction for every token of a text.

    Raises:
        SlonikError: no text, a model without a language-model head of its own, an encoder-decoder, an encoder without
            a mask token.
    """
    language = (
        model if isinstance(model, LanguageModel) else load_language_model(model, trust_remote_code=trust_remote_code)
    )
    if language.two_stacks:
        raise SlonikError(f"{language.name} is an encoder-decoder: the lens reads encoders and decoders")
    if not language.has_head:
        raise SlonikError(f"{language.name} has no language-model head of its own, through which layers could be read")
    tokens = read_tokens(language.encoder(), text, "")
    masked = not _writes(language)
    ids = torch.tensor(tokens.ids)
    if masked:
        mask = special_id(language.tokenizer, "mask", language.names)
        if mask is None:
            raise SlonikError(f"the tokenizer of {language.name} has no mask token, under which it could guess")
        given = [place for place, number in enumerate(tokens.ids) if number == mask]
        places = given or np.flatnonzero(~tokens.special).tolist()
        rows = ids.repeat(len(places), 1)
        if not given:
            rows[torch.arange(len(places)), torch.tensor(places)] = mask
        at, truths = places, [tokens.ids[place] for place in places]
    else:
        places = [place for place in np.flatnonzero(~tokens.special).tolist() if place > 0]
        rows = ids[None]
        at, truths = [place - 1 for place in places], [tokens.ids[place] for place in places]
    if not places:
        raise SlonikError("there is no token whose place could be predicted: give a longer text")
    blocks = [_layers(language, rows[start : start + _BATCH]) for start in range(0, len(rows), _BATCH)]
    states = [torch.cat([block[layer] for block in blocks]) for layer in range(len(blocks[0]))]  # (rows, T, D) each
    wanted = torch.tensor(truths)
    top, sure, truth, rank = [], [], [], []
    for state in states:
        chosen = state[torch.arange(len(places)), torch.tensor(at)] if masked else state[0, torch.tensor(at)]
        logits = head_logits(language, chosen[None])[0]
        shares = logits.double().softmax(-1)
        best = shares.topk(min(_TOP, shares.shape[-1]), dim=-1)
        own = shares[torch.arange(len(places)), wanted]
        top.append(best.indices.numpy())
        sure.append(best.values.numpy())
        truth.append(own.numpy())
        rank.append((shares > own[:, None]).sum(-1).numpy() + 1)
    names = {int(i): shown_token(language.tokenizer, int(i)) for i in {*np.unique(np.stack(top)).tolist(), *truths}}
    kind = "masked in turn" if masked and not given else "mask tokens" if masked else "the next token"
    return Lens(language.name, kind, tokens, tuple(places), tuple(truths), np.stack(top), np.stack(sure),
                np.stack(truth), np.stack(rank), names)  # fmt: skip


def _writes(language: LanguageModel) -> bool:
    """Whether it predicts the next token."""
    name = type(language.model).__name__
    return name.endswith(("ForCausalLM", "LMHeadModel")) and not name.endswith("WithLMHeadModel")


def _layers(language: LanguageModel, ids: Tensor) -> list[Tensor]:
    """States (B, T, D) of every layer as the head takes them: the final norm on all, the last as it is."""
    body: Any = language.body
    with torch.no_grad():
        output = body(input_ids=ids, attention_mask=torch.ones_like(ids), output_hidden_states=True)
        states = list(output.hidden_states or ())
        if not states:
            raise SlonikError(f"{language.name} gives no hidden states: its class does not support them")
        norm = _final_norm(language, ids, output.last_hidden_state)
        normed = [norm(state) if norm is not None else state for state in states[:-1]]
    return [*normed, output.last_hidden_state]


def _final_norm(language: LanguageModel, ids: Tensor, last: Tensor) -> nn.Module | None:
    """The norm behind the last layer: the module whose output is the last state and that stands in no layer."""
    found: list[nn.Module] = []
    handles = []
    for name, module in language.body.named_modules():
        if name.rpartition(".")[2] in _NORMS and not any(part.isdigit() for part in name.split(".")):

            def keep(own: nn.Module, _inputs: Any, output: Any) -> None:
                if isinstance(output, Tensor) and output.shape == last.shape and torch.equal(output, last):
                    found.append(own)

            handles.append(module.register_forward_hook(keep))
    try:
        language.body(input_ids=ids, attention_mask=torch.ones_like(ids))
    finally:
        for handle in handles:
            handle.remove()
    return found[-1] if found else None


def head_logits(language: LanguageModel, states: Tensor) -> Tensor:
    """(B, P, V) logits of the model's own head for states (B, P, D) that stand for the body's output."""
    body = language.body

    def put_in(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (states, *output[1:])
        output["last_hidden_state"] = states
        return output

    handle = body.register_forward_hook(put_in)
    try:
        with torch.no_grad():
            ids = torch.zeros(states.shape[:2], dtype=torch.long)
            logits: Tensor = language.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    finally:
        handle.remove()
    return logits.float()
