"""How many tokens a second a decoder writes: torch with its cache, ONNX fp32 and int8, one text and eight at once.

    python benchmarks/generation_speed.py CHECKPOINT EXPORTED_FOLDER [--tokens 48] [--rounds 5]
    python benchmarks/generation_speed.py --fresh FOLDER --layers 6 --hidden 384 --vocabulary 32000

The second makes a random GPT-2 of that shape in FOLDER/checkpoint, exports it to FOLDER/exported and measures that:
speed does not depend on what the weights have learnt. Seconds are of processor time, so that other work on the machine
slows nobody; all on one thread, systems in turn within every round, greedily, end tokens switched off. A prompt of 32
tokens is read for each text, and counted in the time.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import torch

from slonik.exporting.run import export
from slonik.models.fresh import Shape, TokenIds, build
from slonik.models.writing import open_generator
from slonik.runtime.sampling import SamplingConfig
from slonik.runtime.writing import Continuation, Writer, WritingBatch
from slonik.text.tokenizers.training import TrainConfig, train
from slonik.text.tokenizing import write_tokenizer

PROMPT_TOKENS = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", type=Path)
    parser.add_argument("exported", nargs="?", type=Path)
    parser.add_argument("--fresh", type=Path)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--hidden", type=int, default=384)
    parser.add_argument("--vocabulary", type=int, default=32_000)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--together", type=int, nargs="+", default=[1, 8])
    given = parser.parse_args()
    if given.fresh:
        given.checkpoint, given.exported = fresh(given.fresh, given.layers, given.hidden, given.vocabulary)
    torch.set_num_threads(1)
    decoder = "decoder_model_merged" if (given.exported / "onnx" / "encoder_model.onnx").exists() else "model"
    writers: dict[str, Writer] = {
        "torch": open_generator(given.checkpoint, device="cpu"),
        "onnx fp32": open_generator(given.exported, file=f"{decoder}.onnx", threads=1),
        "onnx int8": open_generator(given.exported, file=f"{decoder}_quantized.onnx", threads=1),
    }
    for writer in writers.values():
        writer.prompts.facts = replace(writer.facts, ends=frozenset())
    print(f"{'texts':>5}  {'system':<10} {'tokens/s':>9}  {'[least, most]':<18} times torch [least, most]")
    for count in given.together:
        pace = in_turns(writers, count, given.tokens, given.rounds)
        for name, found in pace.items():
            ratio = found / pace["torch"]
            print(
                f"{count:>5}  {name:<10} {np.median(found):>9.1f}  [{found.min():.1f}, {found.max():.1f}]{'':<4} "
                f"{np.median(ratio):.2f} [{ratio.min():.2f}, {ratio.max():.2f}]"
            )


def in_turns(writers: dict[str, Writer], count: int, tokens: int, rounds: int) -> dict[str, np.ndarray]:
    """Tokens per processor second of each writer in each round, after one round that warms up."""
    found: dict[str, list[float]] = {name: [] for name in writers}
    for turn in range(rounds + 1):
        for name, writer in writers.items():
            started = time.process_time()
            write(writer, count, tokens)
            if turn:
                found[name].append(count * tokens / (time.process_time() - started))
    return {name: np.array(values) for name, values in found.items()}


def write(writer: Writer, count: int, tokens: int) -> None:
    """Greedy texts of `tokens` tokens after `count` prompts, side by side."""
    config = SamplingConfig(max_tokens=tokens, temperature=0)
    rows = np.random.default_rng(0).integers(10, 1000, (count, PROMPT_TOKENS)).tolist()
    batch = WritingBatch(writer)
    batch.add([Continuation(writer.prompts, row, config) for row in rows])
    while batch.texts:
        batch.step()


def fresh(folder: Path, layers: int, hidden: int, vocabulary: int) -> tuple[Path, Path]:
    """A random GPT-2 of this shape and its export."""
    checkpoint, exported = folder / "checkpoint", folder / "exported"
    if not exported.exists():
        texts = (
            resources.files("slonik.exporting").joinpath("russian_texts.txt").read_text(encoding="utf-8").splitlines()
        )
        made = train(TrainConfig(kind="bpe", vocab_size=1200, family="gpt2"), texts)
        shape = Shape(family="gpt2", layers=layers, hidden=hidden, heads=hidden // 64, max_length=1024)
        build(shape, TokenIds(vocabulary, pad=1, bos=0, eos=2)).save_pretrained(checkpoint)
        write_tokenizer(made.tokenizer, checkpoint, names=made.specials.roles, max_length=1024)
        print(export(str(checkpoint), exported, measure_speed=False).table())
    return checkpoint, exported


if __name__ == "__main__":
    main()
