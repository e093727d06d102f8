"""A fresh GPT-2: left to right, learned absolute positions, pre-norm, head tied to the embeddings.

Source: Radford et al., "Language Models are Unsupervised Multitask Learners" (2019), section 2.3. Stock Transformers
class; ruGPT-3 and newsGPT are of this kind.
"""

from __future__ import annotations

from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel

from slonik.models.fresh.shape import Shape, TokenIds


def gpt2(shape: Shape, ids: TokenIds) -> PreTrainedModel:
    """A random GPT-2."""
    values = {
        "vocab_size": ids.size,
        "n_embd": shape.hidden,
        "n_layer": shape.layers,
        "n_head": shape.heads,
        "n_inner": shape.neurons,
        "n_positions": shape.max_length,
        "resid_pdrop": shape.dropout,
        "embd_pdrop": shape.dropout,
        "attn_pdrop": shape.dropout,
        "pad_token_id": ids.pad,
        "bos_token_id": ids.bos,
        "eos_token_id": ids.eos,
    }
    return GPT2LMHeadModel(GPT2Config(**{**values, **shape.options}))
