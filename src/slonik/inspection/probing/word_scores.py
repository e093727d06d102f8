"""Encoders on tasks of words and on trees, with their controls and baselines.

Tasks of words are measured as those of sentences are (`scores`); their baselines know the words alone: the commonest
label of a word in training (for pairs: of the dependent, then of its last three letters), and navec's vectors. The
structural probe's records have the task "tree", the variant "structural" and the metrics `uuas` and `spearman` per
layer and for the layer that validation prefers; `control_uuas` is that of control trees. What is written of a model is
written of its twin with random weights too, and of the words in a row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.hashing import derive_seed, sha256_json, sha256_texts
from slonik.core.records import Record
from slonik.evaluation.statistics import Interval, drawn_counts, interval
from slonik.inspection.probing.baselines import majority
from slonik.inspection.probing.layers import interval_around, intervals, resampled_means
from slonik.inspection.probing.probes import Correct, LogisticProbe, scale
from slonik.inspection.probing.scores import (
    LayerScores,
    Options,
    check_options,
    hashes_of,
    probing_record,
    protocol_of,
    score_task,
)
from slonik.inspection.probing.tasks import PROTOCOL
from slonik.inspection.probing.trees import (
    Tree,
    TreeScores,
    control_tree_of,
    in_a_row,
    probe_trees,
    score_distances,
    tree_of,
)
from slonik.inspection.probing.word_vectors import SentenceWords, WordVectors
from slonik.inspection.probing.words import TREE, Treebank, WordTask
from slonik.models.encoder import TorchEncoder

STRUCTURAL = "structural"
IN_A_ROW = "words in a row"
_FEWEST_TREES = 30


def probe_words(
    encoder: TorchEncoder,
    tasks: Sequence[WordTask],
    bank: Treebank | None,
    options: Options = Options(),
    on_task: Callable[[str], None] = lambda _: None,
) -> LayerScores:
    """Probe the words of every layer on `tasks`, and with a treebank its trees.

    Raises:
        SlonikError: an unknown probe, or too few trees.
    """
    check_options(options)
    found = LayerScores(encoder.name)
    weights = encoder.weights_hash()
    made: dict[tuple[str, ...], SentenceWords] = {}
    for task in tasks:
        on_task(task.data.task.id)
        words = _words(encoder, task.sentences, options.prefix, made)
        vectors = WordVectors(words, task)
        if cut := vectors.cut & set(task.data.texts):
            found.warnings.append(
                f"{encoder.name}: {len(cut)} of {len(task.data.texts)} examples of {task.data.task.id} have words "
                f"behind its {encoder.max_length} tokens, which it did not read"
            )
        score_task(found, vectors, task.data, options, "mean", weights, cut)
    if bank is not None:
        on_task(TREE)
        words = _words(encoder, bank.tokens, options.prefix, made)
        found.records += _tree_records(encoder.name, bank, words, options, weights)
    found.encoding_seconds = sum(words.seconds for words in made.values())
    found.encoded = sum(len(words.vectors) for words in made.values())
    return found


def _words(
    encoder: TorchEncoder, sentences: Sequence[Any], prefix: str | None, made: dict[tuple[str, ...], SentenceWords]
) -> SentenceWords:
    key = tuple(tokens.text for tokens in sentences)
    if key not in made:
        made[key] = SentenceWords(encoder, sentences, prefix)
    return made[key]


def tree_parts(bank: Treebank) -> tuple[list[Tree], list[int], tuple[list[int], list[int], list[int]]]:
    """Trees of a treebank, the number of each one's sentence, and which are for training, validation and test.

    Raises:
        SlonikError: too few of them.
    """
    made = [(at, tree) for at, sentence in enumerate(bank.sentences) if (tree := tree_of(sentence))]
    if len(made) < _FEWEST_TREES:
        raise SlonikError(f"{len(made)} trees are too few for a structural probe: give {_FEWEST_TREES} or more")
    trees, numbers = [tree for _, tree in made], [at for at, _ in made]
    order = sorted(range(len(trees)), key=lambda at: derive_seed(0, "words split", bank.tokens[numbers[at]].text))
    ends = int(0.6 * len(order)), int(0.8 * len(order))
    return trees, numbers, (order[: ends[0]], order[ends[0] : ends[1]], order[ends[1] :])


def _tree_records(model: str, bank: Treebank, words: SentenceWords, options: Options, weights: str) -> list[Record]:
    trees, numbers, parts = tree_parts(bank)

    def vectors(layer: int, at: int) -> NDArray[np.floating]:
        found: NDArray[np.floating] = words.vectors[numbers[at]][layer][trees[at].words]
        return found

    scores = probe_trees(words.layers, vectors, trees, parts, model)
    records = _of_layers(model, scores, bank, options, weights)
    if options.control:
        made = [control_tree_of(bank.sentences[at], options.seeds[0]) for at in numbers]
        controls = [own or tree for own, tree in zip(made, trees, strict=True)]
        best = _best([held for held, _ in scores])
        own = probe_trees(1, lambda _, at: vectors(best, at), controls, parts, f"{model} (control)")
        facts = {"layer": best, "control": "a random end of the sentence by word"}
        records += _of_part(model, own[0][1], bank, options, weights, None, facts, control=True)
    return records


def _best(held: Sequence[TreeScores]) -> int:
    return int(np.argmax([own.uuas for own in held]))


def _of_layers(
    model: str, scores: Sequence[tuple[TreeScores, TreeScores]], bank: Treebank, options: Options, weights: str
) -> list[Record]:
    records = []
    for layer, (held, own) in enumerate(scores):
        records += _of_part(model, own, bank, options, weights, layer, {"validation_uuas": round(held.uuas, 4)})
    best = _best([held for held, _ in scores])
    choices = np.stack([own.resampled(_counts(own, options.seed, "va"))[0] for own, _ in scores]).argmax(0)
    low, high = np.percentile(choices, [2.5, 97.5])
    tested = [own.resampled(_counts(own, options.seed, "te")) for _, own in scores]
    facts: dict[str, Any] = {"layer": best, "layer_low": int(np.floor(low)), "layer_high": int(np.ceil(high))}
    facts |= {"layers": len(scores), "validation_uuas": round(scores[best][0].uuas, 4)}
    facts |= {"notes": list(bank.notes)} if bank.notes else {}
    for place, metric in enumerate(("uuas", "spearman")):
        spread = np.stack([own[place] for own in tested])[choices, np.arange(len(choices))]
        value = getattr(scores[best][1], metric)
        records.append(_record(model, metric, interval_around(value, spread), bank, options, weights, None, facts,
                               scores[best][1]))  # fmt: skip
    return records


def _of_part(
    model: str, own: TreeScores, bank: Treebank, options: Options, weights: str | None, layer: int | None,
    facts: dict[str, Any], *, control: bool = False,
) -> list[Record]:  # fmt: skip
    spread = own.resampled(_counts(own, options.seed, "te"))
    records = []
    for place, metric in enumerate(("uuas", "spearman")):
        bounds = interval(getattr(own, metric), spread[place])
        name = f"control_{metric}" if control else metric
        records.append(_record(model, name, bounds, bank, options, weights, layer, facts, own))
    return records[:1] if control else records


def _record(
    model: str, metric: str, bounds: Interval, bank: Treebank, options: Options, weights: str | None,
    layer: int | None, facts: dict[str, Any], own: TreeScores,
) -> Record:  # fmt: skip
    hashes = {"data": bank.sha256, "texts": sha256_texts(tokens.text for tokens in bank.tokens)}
    hashes |= {"protocol": sha256_json([PROTOCOL, STRUCTURAL, TREE, metric])}
    return probing_record(
        TREE, STRUCTURAL, model, metric, bounds, seed=options.seed, layer=layer, n=len(own.hits),
        detail=facts | {"prefix": options.prefix}, hashes=hashes | ({"weights": weights} if weights else {}),
    )  # fmt: skip


def _counts(own: TreeScores, seed: int, part: str) -> NDArray[np.float64]:
    n = len(own.hits)
    return np.concatenate([*drawn_counts(n, derive_seed(seed, "probing bootstrap", f"tree {part}", n))]).astype(float)


def word_baselines(
    tasks: Sequence[WordTask], bank: Treebank | None, options: Options, on_task: Callable[[str], None] = lambda _: None
) -> list[Record]:
    """What the words alone give, named as models: "majority", "word_form", "navec"; for trees the words in a row."""
    records = []
    for task in tasks:
        on_task(task.data.task.id)
        for name, right in _of_words(task).items():
            spread = resampled_means(right[None], seed=options.seed, sample=f"{task.data.task.id} te")
            records.append(
                probing_record(
                    task.data.task.id, "logistic", name, "accuracy", intervals(right[None], spread)[0],
                    seed=options.seed, n=len(right), detail={"baseline": True},
                    hashes=hashes_of(task.data) | {"protocol": protocol_of(task.data, "logistic", "accuracy")},
                )
            )  # fmt: skip
    if bank is not None:
        trees, _, parts = tree_parts(bank)
        tested = [trees[at] for at in parts[2]]
        own = score_distances(tested, [in_a_row(tree) for tree in tested])
        records += _of_part(IN_A_ROW, own, bank, options, None, None, {"baseline": True})
    return records


def _of_words(task: WordTask) -> dict[str, NDArray[np.float32]]:
    found = {"majority": majority(task.data), "word_form": _commonest(task)}
    if (static := _static(task)) is not None:
        found["navec"] = static
    return {name: right.astype(np.float32) for name, right in found.items()}


def _commonest(task: WordTask) -> Correct:
    """The commonest training label of a pair of words, else of the first, else of its ending, else of all."""
    train, test = task.data.train, task.data.test
    seen: dict[tuple[str, ...], Counter[str]] = {}

    def keys(name: str) -> list[tuple[str, ...]]:
        forms = task.forms(name)
        return [("whole", *forms), ("first", forms[0]), ("ending", forms[0][-3:]), ()]

    for name, label in zip(train.texts, train.labels, strict=True):
        for key in keys(name):
            seen.setdefault(key, Counter())[str(label)] += 1

    def guess(name: str) -> str:
        counts = next(seen[key] for key in keys(name) if key in seen)
        return min(counts, key=lambda label: (-counts[label], label))

    found: Correct = np.array([guess(name) for name in test.texts], dtype=np.str_) == test.labels
    return found


def _static(task: WordTask) -> Correct | None:
    """A probe on navec's vectors of the words; None where its package is not installed."""
    from slonik.models.opening import open_encoder

    try:
        encoder = open_encoder("navec")
    except SlonikError:
        return None
    parts = []
    for split in (task.data.train, task.data.validation, task.data.test):
        forms = [task.forms(name) for name in split.texts]
        unique = sorted({form for pair in forms for form in pair})
        table = dict(zip(unique, encoder.encode(unique), strict=True))
        parts.append(np.stack([np.concatenate([table[form] for form in pair]) for pair in forms]).astype(np.float32))
    return LogisticProbe(scale(*parts)).fit(task.data).test
