"""Weights and scale of a blend of teachers, chosen without any benchmark's test part.

    python benchmarks/choose_blend.py --data-dir DATA --corpus CORPUS --pairs PAIRS.tsv [--near NEAR_TITLES.tsv]
        [--teacher NAME]... [--weights 0.5 0.7 1] [--scales 1 3] [--json FILE]

What is measured for each candidate: folds inside the *training* parts of encodechka's toxicity and intents (logistic
regression as encodechka fits it), the share of translations found among 2,000 held-out pairs, and how well the cosine
tells headlines of one event from others (area under the ROC curve). Means and axes are fitted to the corpus.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slonik.compression.blend import fit_blend
from slonik.core.protocols import FloatArray
from slonik.data.pairs import read_pairs
from slonik.data.readers import read_texts
from slonik.data.sampling import TextLimits, sample_pairs, sample_sentences
from slonik.evaluation.encodechka.readers import read_labelled
from slonik.models.opening import open_encoder
from slonik.text.lines import numbered_lines

TEACHERS = ("embedded:multilingual-e5-small", "embedded:use-multilingual-3")
FOLDS = 5


@dataclass(frozen=True)
class Data:
    """Texts that are encoded once, part after part, and what is known of them."""

    corpus: list[str]
    toxic: tuple[Sequence[str], Sequence[str]]
    intents: tuple[Sequence[str], Sequence[str]]
    pairs: list[tuple[str, str]]
    near: list[tuple[str, str, bool]]

    def parts(self) -> dict[str, list[str]]:
        """Name -> texts."""
        return {
            "corpus": self.corpus, "toxic": list(self.toxic[0]), "intents": list(self.intents[0]),
            "english": [english for english, _ in self.pairs], "russian": [russian for _, russian in self.pairs],
            "first": [first for first, _, _ in self.near], "second": [second for _, second, _ in self.near],
        }  # fmt: skip


def main() -> None:
    """Encode everything once by each teacher, then try every candidate on the vectors."""
    arguments = _arguments()
    data = _data(arguments)
    parts = data.parts()
    vectors = {}
    for name in arguments.teacher or TEACHERS:
        encoder = open_encoder(name)
        print(f"encoding {sum(map(len, parts.values()))} texts with {name} ...", flush=True)
        vectors[name] = {part: encoder.encode(texts) for part, texts in parts.items() if texts}
    rows = []
    for names, weights, centre, scale in _candidates(list(vectors), arguments.weights, arguments.scales):
        blend = fit_blend(
            [vectors[name]["corpus"] for name in names], weights, centre=centre, scale=scale,
            dimension=min(arguments.dimension, sum(vectors[name]["corpus"].shape[1] for name in names)),
        )  # fmt: skip
        made = {part: blend([vectors[name][part] for name in names]) for part, texts in parts.items() if texts}
        row = {"teachers": names, "weights": weights, "centred": centre, "scale": scale, **_measures(data, made)}
        rows.append({**row, "kept": blend.kept})
        print(_line(rows[-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _candidates(
    names: list[str], weights: Sequence[float], scales: Sequence[float]
) -> Iterator[tuple[list[str], list[float], bool, float]]:
    """Each teacher alone, as it is and centred; then the first at 1 beside the second at each weight."""
    for name, centre in itertools.product(names, (False, True)):
        yield [name], [1.0], centre, 1.0
    if len(names) > 1:
        for weight, scale in itertools.product(weights, scales):
            yield names[:2], [1.0, weight], True, scale


def _measures(data: Data, made: dict[str, FloatArray]) -> dict[str, float]:
    found = {
        "toxic": _toxic(made["toxic"], np.asarray(data.toxic[1], dtype=float) > 0.5),
        "intents": _intents(made["intents"], np.asarray(data.intents[1])),
    }
    if data.pairs:
        english, russian = (_unit(made[side]) for side in ("english", "russian"))
        best = (russian @ english.T).argmax(1)
        found["translations"] = float((best == np.arange(len(best))).mean())
    if data.near:
        from sklearn.metrics import roc_auc_score

        cosines = (_unit(made["first"]) * _unit(made["second"])).sum(1)
        found["near"] = float(roc_auc_score([same for *_, same in data.near], cosines))
    return found


def _toxic(vectors: FloatArray, labels: np.ndarray) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    model = LogisticRegression(max_iter=1000)
    return float(roc_auc_score(labels, cross_val_predict(model, vectors, labels, cv=folds, method="decision_function")))


def _intents(vectors: FloatArray, labels: np.ndarray) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    return float(cross_val_score(LogisticRegression(max_iter=1000), vectors, labels, cv=folds).mean())


def _unit(vectors: FloatArray) -> FloatArray:
    found: FloatArray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return found


def _data(arguments: argparse.Namespace) -> Data:
    folder = arguments.data_dir / "encodechka"
    limits = TextLimits(min_words=3, max_words=24, max_characters=400)
    near = []
    if arguments.near:
        fields = (line.split("\t") for _, line in numbered_lines(arguments.near))
        near = [(first, second, verdict == "OK") for first, second, verdict in fields]
    pairs = []
    if arguments.pairs:
        pairs = sample_pairs(
            read_pairs([arguments.pairs]), 2000, seed=0, limits=limits, held_out=True, held_out_share=0.02
        )
    corpus = sample_sentences(
        read_texts([arguments.corpus]), arguments.texts, seed=0, limits=limits, held_out=False, held_out_share=0.02
    )
    toxic = read_labelled(folder / "toxic_train.csv", "text", "toxic")
    intents = read_labelled(folder / "intents_train.csv", "text", "label")
    return Data(corpus, (toxic.texts, toxic.labels), (intents.texts, intents.labels), pairs, near)


def _line(row: dict[str, object]) -> str:
    told = (f"{value:.4f}" if isinstance(value, float) else str(value) for value in row.values())
    return "  ".join(f"{name} {value}" for name, value in zip(row, told, strict=True))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--pairs")
    parser.add_argument("--near", type=Path)
    parser.add_argument("--teacher", action="append", help="the first has weight 1 in a blend")
    parser.add_argument("--weights", type=float, nargs="+", default=[0.5, 0.7, 1.0])
    parser.add_argument("--scales", type=float, nargs="+", default=[1.0, 3.0])
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--texts", type=int, default=5000)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
