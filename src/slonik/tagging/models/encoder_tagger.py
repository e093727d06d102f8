"""An encoder with a token head as a tagger: `TokenFeatures` make its inputs, the task model scores them.

Such a tagger's folder is that of a task model: an ordinary checkpoint with `task.json`, or one that Transformers wrote
(`BertForTokenClassification`, ...), whose tags are read as they come.
"""

from __future__ import annotations

from pathlib import Path

from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_json
from slonik.models.task_model import TaskModel
from slonik.runtime.tagging.labels import BioLabels, tag_labels
from slonik.runtime.tagging.names import NameList
from slonik.runtime.tagging.token_features import TokenFeatures
from slonik.tagging.models.neural_tagger import NeuralTagger


def encoder_tagger(
    model: TaskModel, name: str, folder: Path | None = None, *, names: NameList | None = None
) -> NeuralTagger:
    """An encoder with a token head as a tagger.

    Args:
        folder: where it was loaded from; the list of names, if the head reads one, is loaded from there.
        names: that list, for a tagger that has no folder yet.

    Raises:
        SlonikError: the task model tags no words, or its list of names is missing or damaged.
    """
    config = model.config
    if config.kind != "tokens":
        raise SlonikError(f"{name} is a model for {config.task!r}, not a tagger: give one that was trained on spans")
    labels = tag_labels(config.labels, rules=bool(config.details.get("rules", True)))
    overlap = int(config.details.get("overlap", 64))
    if names is None and folder is not None and config.head.get("names") and isinstance(labels, BioLabels):
        names = NameList.open(folder, labels)
    features = TokenFeatures(model.encoder.tokenizer, window=model.max_length, overlap=overlap, names=names)
    weights = model.weights_hash()
    if names is not None:
        weights = sha256_json([weights, names.content_hash()])
    facts = {"kind": "encoder-crf" if config.head.get("crf") else "encoder", "weights_hash": weights}
    tagger = NeuralTagger(name, labels, model, features, facts, folder)
    tagger.balanced = bool(config.details.get("balanced", False))
    return tagger
