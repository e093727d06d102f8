"""Random two-layer models of every family, and whole checkpoints of them on disk.

The initial weights are wider than usual (0.2 instead of 0.02) so that attention is far from uniform and a
mistake in a mask, a position or a head shows in the output.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel

from tests.tiny.tokenizers import SPECIALS, tokenizer

ENCODERS = ("bert", "roberta", "xlm-roberta", "deberta-v2", "modernbert")
FAMILIES = (*ENCODERS, "gpt2", "t5")
MORE_ENCODERS = ("distilbert", "mpnet", "albert", "electra")
"""Encoders that every client knows too; few tests need them."""
TOKENIZER_OF = {
    "bert": "wordpiece",
    "roberta": "bpe",
    "xlm-roberta": "unigram",
    "deberta-v2": "unigram",
    "modernbert": "bpe",
    "gpt2": "bpe",
    "t5": "unigram",
    "distilbert": "wordpiece",
    "mpnet": "wordpiece",
    "albert": "unigram",
    "electra": "wordpiece",
}
_SPECIAL_IDS: dict[str, Any] = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}


def config(
    family: str, *, vocab_size: int = 500, layers: int = 2, hidden: int = 32, heads: int = 4, ffn: int = 64
) -> PreTrainedConfig:
    """The config of a tiny model of `family` (FAMILIES, MORE_ENCODERS); 64 positions, dropout as the family has it."""
    common: dict[str, Any] = {
        "vocab_size": vocab_size,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": ffn,
        "max_position_embeddings": 64,
        "initializer_range": 0.2,
        **_SPECIAL_IDS,
    }
    if family in ("roberta", "xlm-roberta"):
        common |= {"max_position_embeddings": 66, "type_vocab_size": 1}
    elif family == "deberta-v2":
        # the options of the published DeBERTa-v3 checkpoints, with small buckets
        common |= {
            "type_vocab_size": 0,
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_buckets": 8,
            "share_att_key": True,
            "norm_rel_ebd": "layer_norm",
            "position_biased_input": False,
            "max_relative_positions": -1,
        }
    elif family == "modernbert":
        common |= {
            "cls_token_id": 0,
            "sep_token_id": 2,
            "local_attention": 16,
            "global_attn_every_n_layers": 2,
        }
        common |= {"initializer_cutoff_factor": 2.0}
    elif family == "distilbert":
        common = {"vocab_size": vocab_size, "dim": hidden, "n_layers": layers, "n_heads": heads, "hidden_dim": ffn}
        common |= {"max_position_embeddings": 64, "initializer_range": 0.2, **_SPECIAL_IDS}
    elif family == "mpnet":
        common |= {"max_position_embeddings": 66}
    elif family in ("albert", "electra"):
        common |= {"embedding_size": hidden // 2}
    elif family == "gpt2":
        common = {
            "vocab_size": vocab_size,
            "n_embd": hidden,
            "n_layer": layers,
            "n_head": heads,
            "n_inner": ffn,
        }
        common |= {"n_positions": 64, "initializer_range": 0.2, **_SPECIAL_IDS}
    elif family == "t5":
        common = {"vocab_size": vocab_size, "d_model": hidden, "num_layers": layers, "num_heads": heads}
        common |= {"d_ff": ffn, "d_kv": hidden // heads, "feed_forward_proj": "gated-gelu"}
        common |= {"decoder_start_token_id": 1, "pad_token_id": 1, "eos_token_id": 2}
    return AutoConfig.for_model(family, **common)


def model(family: str = "bert", *, seed: int = 0, **shape: int) -> PreTrainedModel:
    """A random model of `family` in eval mode, equal for equal arguments; `shape` goes to `config`.

    The random state of the caller is left as it was. Biases and norms, which start at 0 and 1, get noise too,
    so that surgery that forgets a bias is caught.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = AutoModel.from_config(config(family, **shape))
        with torch.no_grad():
            for parameter in made.parameters():
                if parameter.dim() == 1:
                    parameter.add_(torch.randn_like(parameter) * 0.1)
    return made.eval()


def checkpoint(
    folder: Path,
    family: str = "bert",
    *,
    seed: int = 0,
    pooling: str = "mean",
    sentence: bool = True,
    **shape: int,
) -> Path:
    """Write a whole checkpoint (config, safetensors, tokenizer, sentence files) to `folder` and return it.

    The vocabulary is that of the family's toy tokenizer. With sentence=False the sentence-transformers files
    are left out, as in a plain pre-trained model.
    """
    kind = TOKENIZER_OF[family]
    toy = tokenizer(kind)
    shape.setdefault("vocab_size", toy.get_vocab_size())
    folder.mkdir(parents=True, exist_ok=True)
    model(family, seed=seed, **shape).save_pretrained(folder)
    toy.save(str(folder / "tokenizer.json"))
    cls, pad, sep, unk, mask = SPECIALS[kind]
    names: dict[str, Any] = {"cls_token": cls, "pad_token": pad, "sep_token": sep, "unk_token": unk, "mask_token": mask}
    names |= {"bos_token": cls, "eos_token": sep}
    types = int(getattr(config(family), "type_vocab_size", 0) or 0) > 1
    names["model_input_names"] = ["input_ids", *["token_type_ids"] * types, "attention_mask"]
    _write(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 64, **names},
    )
    if sentence:
        _write_sentence_files(folder, pooling, hidden=shape.get("hidden", 32))
    return folder


def _write_sentence_files(folder: Path, pooling: str, hidden: int) -> None:
    kinds = ["sentence_transformers.models.Transformer", "sentence_transformers.models.Pooling"]
    paths = ["", "1_Pooling"]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": kind}
        for i, (path, kind) in enumerate(zip(paths, kinds, strict=True))
    ]
    _write(folder / "modules.json", modules)
    (folder / "1_Pooling").mkdir(exist_ok=True)
    flags = {"pooling_mode_cls_token": pooling == "cls", "pooling_mode_mean_tokens": pooling == "mean"}
    _write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": hidden, **flags})
    _write(folder / "sentence_bert_config.json", {"max_seq_length": 64, "do_lower_case": False})


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
