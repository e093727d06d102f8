"""Probing a model on one task: slonik beside the original's way, in one run, in processor seconds.

    python benchmarks/probing_vs_original.py MODEL_FOLDER DATA_DIR [--task gapping] [--limit 600] [--folds 1]

The original's way (RussianNLP/RuSentEval, probing/prober.py and utils.py, written anew from its description): the
Hugging Face tokenizer, batches in the order of the file, vectors of every layer as Python lists of tensors, and per
layer a torch linear probe under Adam for each of five weight decays, batches of 256 through a DataLoader, stop at the
first rise of validation loss. It repeats every decay five times with the same seed; `--folds 5` does so too.
Processor seconds, because other programs may share the machine.
"""

from __future__ import annotations

import argparse
import copy
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, RandomSampler

import slonik
from slonik.inspection.probing.run import Options, probe
from slonik.inspection.probing.tasks import TaskData, read_tasks


class _Rows(Dataset):  # type: ignore[type-arg]
    def __init__(self, rows: list[tuple[int, torch.Tensor, torch.Tensor]]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[int, torch.Tensor, torch.Tensor]:
        return self.rows[index]


def original(folder: Path, data: TaskData, folds: int) -> list[float]:
    """Test accuracy per layer, 1 to the last."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, output_hidden_states=True).eval()
    numbers = {label: number for number, label in enumerate(data.classes)}
    layers: list[dict[str, list[Any]]] = [{} for _ in range(model.config.num_hidden_layers)]
    for name, split in (("tr", data.train), ("va", data.validation), ("te", data.test)):
        for start in range(0, len(split), 32):
            texts = list(split.texts[start : start + 32])
            batch = tokenizer(texts, padding="longest", truncation=True, return_tensors="pt")
            with torch.no_grad():
                states = model(batch["input_ids"], batch["attention_mask"]).hidden_states[1:]
            mask = batch["attention_mask"].unsqueeze(-1)
            for rows, state in zip(layers, states, strict=True):
                pooled = (state * mask).sum(1) / mask.sum(1)
                for at, vector in enumerate(pooled):
                    label = torch.tensor(numbers.get(str(split.labels[start + at]), 0))
                    rows.setdefault(name, []).append((start + at, vector.clone(), label))
    return [_probe(rows, len(numbers), folds) for rows in layers]


def _probe(rows: dict[str, list[Any]], classes: int, folds: int) -> float:
    best: tuple[float, Any] = (-1.0, None)
    held = DataLoader(_Rows(rows["va"]), batch_size=256)
    for decay in (1e-5, 1e-4, 1e-3, 1e-2, 1e-1):
        for _ in range(folds):
            train = DataLoader(_Rows(rows["tr"]), batch_size=256, sampler=RandomSampler(rows["tr"]))
            torch.manual_seed(42)
            linear = nn.Linear(len(rows["tr"][0][1]), classes)
            optimizer = torch.optim.Adam(linear.parameters(), weight_decay=decay)
            lowest, highest = 10.0, 0.0
            for _epoch in range(201):
                for _, x, y in train:
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(linear(x), y).backward()
                    optimizer.step()
                accuracy, loss = _evaluate(linear, held)
                highest = max(highest, accuracy)
                if loss >= lowest:
                    break
                lowest = loss
            if highest > best[0]:
                best = (highest, copy.deepcopy(linear))
    return _evaluate(best[1], DataLoader(_Rows(rows["te"]), batch_size=256))[0]


def _evaluate(linear: nn.Module, loader: Any) -> tuple[float, float]:
    right, losses = [], []
    with torch.no_grad():
        for _, x, y in loader:
            scores = linear(x)
            losses.append(float(nn.functional.cross_entropy(scores, y)))
            right += scores.argmax(1).eq(y).float().tolist()
    return float(np.mean(right)), float(np.mean(losses))


def main() -> None:
    """Run both and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--task", default="gapping")
    parser.add_argument("--limit", type=int, default=600)
    parser.add_argument("--folds", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    (data,), _ = read_tasks(options.data, [options.task], limit=options.limit)
    print(f"{options.task}: {len(data.train)} / {len(data.validation)} / {len(data.test)} sentences")
    encoder = slonik.load(options.model)
    began = time.process_time()
    found = probe(encoder, [data], Options(use_cache=False, control=False))
    ours = time.process_time() - began
    accuracies = [r.value or 0.0 for r in found.records if r.layer and r.metric == "accuracy"]
    print(f"slonik    {ours:8.1f} s  per layer " + " ".join(f"{100 * value:.1f}" for value in accuracies))
    began = time.process_time()
    theirs_accuracies = original(options.model, data, options.folds)
    theirs = time.process_time() - began
    print(f"original  {theirs:8.1f} s  per layer " + " ".join(f"{100 * value:.1f}" for value in theirs_accuracies))
    print(f"ratio     {theirs / ours:8.1f}  ({options.folds} of the original's 5 equal folds)")


if __name__ == "__main__":
    main()
