"""encodechka both ways, in one run on one machine: the published code's way, and `slonik.evaluation.encodechka`.

The published way: one text at a time through the transformers model, every pooling built each time, each task for
itself; scikit-learn's LogisticRegression(max_iter=10000) and 3 neighbours on every pooling; one document at a time in
the word task. It is rewritten here from the protocol, not copied. Ours: the variant `compatible`, without a cache.

    python benchmarks/encodechka_vs_original.py embedded:multilingual-e5-small --data-dir DIR --share 0.05

`--share` takes every k-th record of every file, for both ways alike; 1 is the whole thing (half an hour for the
published way). On a busy machine read the ratio of processor seconds; wall seconds are for an idle one.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import razdel
import torch
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import KFold, cross_val_predict, train_test_split
from sklearn.neighbors import KNeighborsClassifier

import slonik
from slonik.evaluation.encodechka.readers import Document, read_documents, read_labelled, read_pairs
from slonik.evaluation.encodechka.run import evaluate
from slonik.evaluation.encodechka.tasks import TASKS, Task
from slonik.evaluation.encodechka.words import label_words, split_words

MAX_LENGTH = 128


class Published:
    """The published way, with its encoding and its classifiers timed apart."""

    def __init__(self, encoder: Any, prefix: str) -> None:
        self.model, self.tokenizer, self.prefix = encoder.model, encoder.tokenizer, prefix
        self.limit = encoder.max_length
        self.has_pooler = "pooler" in encoder.poolings
        self.embedding_seconds = 0.0

    def embed(self, text: str) -> dict[str, np.ndarray]:
        """All poolings of one text, from a batch of one."""
        start = time.perf_counter()
        self.tokenizer.enable_truncation(MAX_LENGTH)
        encoding = self.tokenizer.encode(self.prefix + text)
        self.tokenizer.no_truncation()
        ids = torch.tensor([encoding.ids])
        mask = torch.ones_like(ids)
        with torch.no_grad():
            output = self.model(input_ids=ids, attention_mask=mask)
        vectors = {"cls": output.last_hidden_state[:, 0]}
        weights = mask.unsqueeze(-1).float()
        vectors["mean"] = (output.last_hidden_state * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
        if self.has_pooler:
            vectors["pooler"] = output.pooler_output
        for kind in list(vectors):
            vectors[f"{kind}_norm"] = torch.nn.functional.normalize(vectors[kind])
        found = {kind: matrix[0].numpy() for kind, matrix in vectors.items()}
        self.embedding_seconds += time.perf_counter() - start
        return found

    def embed_all(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """Texts one by one, stacked per pooling."""
        rows = [self.embed(text) for text in texts]
        return {kind: np.stack([row[kind] for row in rows]) for kind in rows[0]}

    def words(self, words: Sequence[str]) -> np.ndarray:
        """Mean of pieces per word of one document; zeros beyond the model's length."""
        start = time.perf_counter()
        self.tokenizer.enable_truncation(self.limit)
        encoding = self.tokenizer.encode(list(words), is_pretokenized=True)
        self.tokenizer.no_truncation()
        ids = torch.tensor([encoding.ids])
        with torch.no_grad():
            hidden = self.model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0].numpy()
        pieces: list[list[np.ndarray]] = [[] for _ in words]
        for vector, word in zip(hidden, encoding.word_ids, strict=True):
            if word is not None:
                pieces[word].append(vector)
        zeros = np.zeros(hidden.shape[1])
        found = np.stack([np.mean(rows, axis=0) if rows else zeros for rows in pieces])
        self.embedding_seconds += time.perf_counter() - start
        return found


def pairs(task: Task, folder: Path, way: Published) -> float:
    """STS, PI and NLI."""
    data = read_pairs(folder / task.test, task)
    first, second = way.embed_all(data.first), way.embed_all(data.second)
    figures = []
    for kind in first:
        dots = np.sum(first[kind] * second[kind], axis=1)
        if task.kind == "pair_correlation":
            figures.append(spearmanr([float(target) for target in data.targets], dots).statistic)
        else:
            folds = KFold(n_splits=3, shuffle=True, random_state=1)
            labels = np.array(data.targets)
            classifier = LogisticRegression(max_iter=10_000)
            figures.append(np.mean(cross_val_predict(classifier, dots[:, None], labels, cv=folds) == labels))
    return float(max(figures))


def classes(task: Task, folder: Path, way: Published) -> float:
    """SA, TI, IA, IC and ICX."""
    train = read_labelled(folder / str(task.train), task.train_column, task.target)
    test = read_labelled(folder / task.test, task.columns[0], task.target)
    known, asked = way.embed_all(train.texts), way.embed_all(test.texts)
    figures = []
    for kind in known:
        classifier = LogisticRegression(max_iter=10_000).fit(known[kind], train.labels)
        if task.kind == "roc_auc":
            truth = np.array([float(label) for label in test.labels])
            figures.append(roc_auc_score(truth, classifier.predict_proba(asked[kind])[:, 1]))
            continue
        neighbours = KNeighborsClassifier(n_neighbors=3, weights="distance").fit(known[kind], train.labels)
        for fitted in (classifier, neighbours):
            figures.append(np.mean(fitted.predict(asked[kind]) == np.array(test.labels)))
    return float(max(figures))


def entities(task: Task, folder: Path, way: Published) -> float:
    """NE1 and NE2."""
    halves = train_test_split(read_documents(folder / task.test), test_size=0.5, random_state=1)
    tables = []
    for half in halves:
        vectors, labels = zip(*(_document(document, way) for document in half), strict=True)
        tables.append((np.concatenate(vectors), np.concatenate(labels)))
    (known, truth), (asked, gold) = tables
    classifier = SGDClassifier(loss="log_loss", random_state=1, tol=1e-4).fit(known, truth)
    names = sorted(set(gold.tolist()) - {"O"})
    return float(f1_score(gold, classifier.predict(asked), average="macro", labels=names, zero_division=0))


def _document(document: Document, way: Published) -> tuple[np.ndarray, np.ndarray]:
    words = split_words(document.text)
    return way.words([word.text for word in words]), np.array(label_words(document, words, "compatible"))


WAYS: dict[str, Callable[[Task, Path, Published], float]] = {
    "pair_correlation": pairs,
    "pair_classification": pairs,
    "accuracy": classes,
    "roc_auc": classes,
    "words": entities,
}


def sample(source: Path, target: Path, share: float) -> None:
    """Every k-th record of every file of `source` into `target`."""
    step = round(1 / share)
    target.mkdir(parents=True)
    for path in source.iterdir():
        if path.suffix == ".csv":
            with open(path, encoding="utf-8", newline="") as stream:
                rows = list(csv.reader(stream))
            with open(target / path.name, "w", encoding="utf-8", newline="") as stream:
                csv.writer(stream).writerows([rows[0], *rows[1::step]])
        elif path.suffix == ".json":
            content = json.loads(path.read_text(encoding="utf-8"))
            kept = {key: values[::step] for key, values in content.items()}
            (target / path.name).write_text(json.dumps(kept, ensure_ascii=False), encoding="utf-8")


def main() -> None:
    """Run both ways and print seconds, ratio, and figures side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="embedded:multilingual-e5-small")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--tasks", default="")
    parser.add_argument("--dtype", default="float32", help="of slonik's way: float32 or autocast (bfloat16 products)")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    list(razdel.tokenize("загрузка"))
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.data_dir
        if options.share < 1:
            folder = Path(temporary)
            sample(options.data_dir / "encodechka", folder / "encodechka", options.share)
        present = [task for task in TASKS.values() if task.kind != "speed"]
        present = [task for task in present if all((folder / "encodechka" / file).is_file() for file in task.files)]
        if options.tasks:
            present = [task for task in present if task.id in options.tasks.split(",")]
        _compare(options, folder, present)


def _compare(options: argparse.Namespace, folder: Path, tasks: Sequence[Task]) -> None:
    fast = slonik.load(options.model, backend="torch", dtype=options.dtype)
    fast.encode(["разогрев"])
    start, cpu = time.perf_counter(), time.process_time()
    ours = evaluate(fast, folder, tasks=[task.id for task in tasks], variants=["compatible"], use_cache=False)
    our_seconds, our_cpu = time.perf_counter() - start, time.process_time() - cpu
    encoder = slonik.load(options.model, backend="torch")
    prefix = encoder.sentence.prefix(None)  # type: ignore[attr-defined]
    way = Published(encoder, prefix)
    start, cpu = time.perf_counter(), time.process_time()
    figures = {task.id: WAYS[task.kind](task, folder / "encodechka", way) for task in tasks}
    their_seconds, their_cpu = time.perf_counter() - start, time.process_time() - cpu
    print(f"{options.model}, share {options.share}, {torch.get_num_threads()} threads")
    print(f"{'task':6} {'published way':>14} {'slonik':>8} {'difference':>11}")
    for task in tasks:
        mine = ours.measured["compatible", task.id].record.value or 0.0
        print(f"{task.id:6} {figures[task.id]:14.4f} {mine:8.4f} {mine - figures[task.id]:+11.4f}")
    rest = their_seconds - way.embedding_seconds
    print(f"published way: {their_seconds:.1f} s (encoding {way.embedding_seconds:.1f}, classifiers {rest:.1f})")
    print(
        f"slonik:        {our_seconds:.1f} s (encoding {ours.embedding_seconds:.1f}, classifiers and intervals "
        f"{ours.classifier_seconds:.1f})"
    )
    print(f"ratio:         {their_seconds / our_seconds:.2f} (processor seconds: {their_cpu / our_cpu:.2f})")
    if options.json:
        result = {"model": options.model, "share": options.share, "dtype": options.dtype}
        result |= {"threads": torch.get_num_threads()}
        result |= {"published_seconds": their_seconds, "slonik_seconds": our_seconds}
        result |= {"published_cpu_seconds": their_cpu, "slonik_cpu_seconds": our_cpu}
        result |= {"ratio": their_seconds / our_seconds, "published": figures}
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
