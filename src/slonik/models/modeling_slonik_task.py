"""An encoder of any family with a head that Transformers has no class for, as a model of Transformers.

This file stands alone with `modeling_slonik_heads` (torch and transformers only): both are copied beside the weights,
where the one imports the other by its bare name, so that any program can load them with `trust_remote_code=True`, by
the Auto class that `auto_map` of the config names. The encoder is what AutoModel makes of the config; `slonik_task` in
it says which head stands on it.

Shapes: B examples, R inputs of one example (two texts apart, or candidates), T tokens, W words, L labels.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import (
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)

from slonik.models.modeling_slonik_heads import TEXT_HEADS, ChainScores

AUTO_NAMES = {
    "sequence": "AutoModelForSequenceClassification",
    "pair": "AutoModelForSequenceClassification",
    "words": "AutoModelForSequenceClassification",
    "choice": "AutoModelForMultipleChoice",
    "answer": "AutoModelForQuestionAnswering",
    "tokens": "AutoModelForTokenClassification",
    "spans": "AutoModelForTokenClassification",
}
"""Kind of head -> the Auto class that opens it."""


def segments_of(ids: Tensor, mask: Tensor, specials: dict[str, Any]) -> Tensor:
    """0 for specials and padding, 1 and 2 for tokens of the first and second text: (..., T) -> (..., T).

    Args:
        ids, mask: token ids and 1 for tokens that are not padding.
        specials: `ids` that stand around texts; `second`: how many of them stand before the second text; `first`:
            before the first.
    """
    around = torch.tensor(specials["ids"] or [-1], device=ids.device)
    special = (ids[..., None] == around).any(-1) & (mask != 0)  # torch.isin has no ONNX operator
    before = special.long().cumsum(-1)
    own = (mask != 0) & ~special & (before >= specials["first"])
    return own.long() + (own & (before >= specials["second"])).long()


class SlonikTaskModel(PreTrainedModel):
    """An encoder and a head; the encoder stands under the name that its own classes give it ("bert", "model", ...).

    Args:
        config: of the encoder, with `slonik_task`: `kind`, `outputs`, `head` (options), `specials` of the tokenizer,
            `pooler` (whether the encoder has one).
    """

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__(config)
        task = config.slonik_task
        self.kind = task["kind"]
        made = TEXT_HEADS.get(self.kind, ChainScores)
        own = copy.deepcopy(config)
        own._attn_implementation = None  # what this class can do says nothing about the encoder
        base = AutoModel.from_config(own, trust_remote_code=True)
        if not task["pooler"] and getattr(base, "pooler", None) is not None:
            base.pooler = None  # no head reads it, and the weights hold none
        self.base_model_prefix = base.base_model_prefix
        setattr(self, base.base_model_prefix, base)
        self.head = made(config.hidden_size, task["outputs"], **task["head"])
        self.takes_types = int(getattr(config, "type_vocab_size", 0) or 0) > 1
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        segments: Tensor | None = None,
        spans: Tensor | None = None,
        candidates: Tensor | None = None,
        names: Tensor | None = None,
        **_: Any,
    ) -> Any:
        """Logits of texts or pairs (B, T), of two texts apart or candidates (B, R, T), or of every token.

        Args:
            segments: 1 and 2 for tokens of the first and second text; None: by the specials in `input_ids`.
            spans: (B, K, 3) row, first token, last + 1, for heads that compare marked words.
            candidates: (B, R) False for rows that are padding.
            names: (B, T, L) what a list of names says of each token, where the head reads one.
        """
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        flat: dict[str, Any] = {"input_ids": input_ids.flatten(0, -2), "attention_mask": mask.flatten(0, -2)}
        if self.takes_types and token_type_ids is not None:
            flat["token_type_ids"] = token_type_ids.flatten(0, -2)
        base: nn.Module = getattr(self, self.base_model_prefix)
        if getattr(self.head, "reads_all_layers", False):
            hidden = torch.stack(base(**flat, output_hidden_states=True).hidden_states)
        else:
            states = base(**flat).last_hidden_state
            hidden = states.reshape(*input_ids.shape, states.shape[-1])
        if segments is None:
            segments = segments_of(input_ids, mask, self.config.slonik_task["specials"])
        if candidates is None:
            candidates = torch.ones(input_ids.shape[:-1], dtype=torch.bool, device=input_ids.device)
        batch = {"attention_mask": mask, "segments": segments, "candidates": candidates}
        batch |= {name: value for name, value in (("spans", spans), ("names", names)) if value is not None}
        logits = self.head(hidden, batch)
        if self.kind == "answer":
            return QuestionAnsweringModelOutput(start_logits=logits[:, 0], end_logits=logits[:, 1])
        if self.kind == "choice":
            return MultipleChoiceModelOutput(logits=logits)
        return (TokenClassifierOutput if self.kind in ("tokens", "spans") else SequenceClassifierOutput)(logits=logits)
