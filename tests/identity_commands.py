"""Every command that keeps steps or vectors, at toy size: how its inputs are made, how it is called, what may change.

Paths are relative: a folder with inputs, steps and cache can be copied, and goes on where the copy is.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM

from slonik.compression.compress import run_compress
from slonik.compression.config import CompressConfig, DistillConfig
from slonik.compression.distill import DistillRecipe, run_distill
from slonik.compression.objective import DistillationTerms
from slonik.compression.plan import keep_layers, whole
from slonik.compression.surgery import apply
from slonik.core.config import Config
from slonik.core.run import Announce
from slonik.data.annotations.formats import write_spans_jsonl
from slonik.finetuning.config import FinetuneRecipe
from slonik.finetuning.finetune import run_finetune
from slonik.models.encoder import TorchEncoder
from slonik.models.loading import load, save
from slonik.models.task_model import new_task_model, save_task_model
from slonik.pretraining.adaptation.adapt import run_adapt
from slonik.pretraining.adaptation.config import AdaptConfig
from slonik.pretraining.config import PretrainConfig
from slonik.pretraining.pretrain import run_pretrain
from slonik.pretraining.repetition.config import RepetitionConfig
from slonik.pretraining.repetition.study import run_study as run_repetition
from slonik.tagging.config import LadderRecipe, TaggerRecipe
from slonik.tagging.study import run_study as run_ner
from slonik.tagging.train import run_tagging
from slonik.text.task_config import TaskConfig
from tests import tiny
from tests.compression import toy_corpus
from tests.finetuning.finetune_data import NAMES, PLACES, write_lines
from tests.tagging.models.toys import documents

Change = Callable[[], object]
"""Changes one input in the current folder."""


@dataclass(frozen=True)
class Command:
    """A command at toy size.

    Attributes:
        prepare: writes its inputs into the current folder.
        config: what is asked for. call: does it.
        changes: name of an input -> what changes it; the first of a place ("model: weights" of "model: length") decides
            no step that the others do not. harmless: those after which the same comes out.
        others: field -> other values of it, where none can be told by its type.
        operational: fields that decide no step: how often to save, what is measured afterwards.
        inputs: fields whose content decides, not their name.
        code: modules of which each decides something.
        steps: how many are made.
    """

    prepare: Callable[[], object]
    config: Config
    call: Callable[[Any, Announce], object]
    changes: Mapping[str, Change]
    harmless: tuple[str, ...] = ()
    others: Mapping[str, Any] = field(default_factory=dict)
    operational: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ("model", "out")
    code: tuple[str, ...] = ()
    steps: int = 1


def swap(path: str, *pairs: tuple[str, str]) -> Change:
    """Other content of the same size and date under the same name."""

    def change() -> None:
        file = Path(path)
        facts, content = file.stat(), file.read_text(encoding="utf-8")
        changed = content
        for old, new in pairs:
            assert old in changed, f"{path} has no {old}"
            changed = changed.replace(old, new)
        file.write_text(changed, encoding="utf-8")
        os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        assert file.stat().st_size == facts.st_size

    return change


def weights(folder: str) -> Change:
    """Another value in the last of the weights."""

    def change() -> None:
        file = Path(folder) / "model.safetensors"
        facts, tensors = file.stat(), load_file(file)
        name = max(name for name in tensors if "layer" in name)
        tensors[name] = tensors[name] + 0.5
        save_file(tensors, file, {"format": "pt"})
        os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))

    return change


def fields(path: str, **values: Any) -> Change:
    """Other values in a JSON file; its date stays."""

    def change() -> None:
        file = Path(path)
        facts, content = file.stat(), json.loads(file.read_text(encoding="utf-8"))
        assert content | values != content
        file.write_text(json.dumps(content | values), encoding="utf-8")
        os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))

    return change


def encoder_changes(name: str, length: int = 12) -> dict[str, Change]:
    """Everything in the folder of a sentence encoder that decides what it computes."""
    mean, cls = ('"pooling_mode_mean_tokens": ', '"pooling_mode_cls_token": ')
    pooling = [(f"{mean}true", f"{mean}null"), (f"{cls}false", f"{cls}1    ")]
    normalize = {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}

    def modules() -> None:
        content = json.loads((Path(name) / "modules.json").read_text(encoding="utf-8"))
        (Path(name) / "modules.json").write_text(json.dumps([*content, normalize]), encoding="utf-8")

    return {
        "weights": weights(name),
        "activation": swap(f"{name}/config.json", ('"gelu"', '"relu"')),
        "heads": swap(f"{name}/config.json", ('"num_attention_heads": 4', '"num_attention_heads": 2')),
        "tokenizer": swap(f"{name}/tokenizer.json", ('"lowercase": false', '"lowercase": true ')),
        "pooling": swap(f"{name}/1_Pooling/config.json", *pooling),
        "modules": modules,
        "length": fields(f"{name}/sentence_bert_config.json", max_seq_length=length),
    }


def encoder(name: str, layers: int = 2) -> None:
    """A tiny sentence encoder."""
    tiny.checkpoint(Path(name), "bert", layers=layers)


# compression


def _compression() -> None:
    encoder("teacher", layers=3)
    encoder("other")
    teacher = load("teacher")
    assert isinstance(teacher, TorchEncoder)
    cut = apply(teacher.model, keep_layers(whole(teacher.model), [0, 2]))
    save(TorchEncoder(cut, teacher.tokenizer, teacher.sentence, source=teacher.source), "student")
    pairs = toy_corpus.pairs()[::2]
    Path("texts").mkdir()
    for number in range(2):
        lines = [russian for _, russian in pairs[number::2]]
        Path("texts", f"{number}.txt").write_text("\n".join(lines), encoding="utf-8")
    Path("pairs.tsv").write_text("".join(f"{one}\t{other}\n" for one, other in pairs), encoding="utf-8")


_SAMPLING = {
    "texts": ["texts"], "pairs": ["pairs.tsv"], "held_out_texts": 20, "held_out_share": 0.2, "near_pairs": 8,
}  # fmt: skip
_DISTILL = {"max_steps": 2, "batch_tokens": 512, "precision": "fp32", "evaluations": 1, "teachers": ["other"]}
_OF_CORPUS = {
    "corpus: a file of the folder": swap("texts/1.txt", ("дом", "мод")),
    "corpus: a further file": lambda: Path("texts", ".2.txt").write_text("слон гуляет ночью\n", encoding="utf-8"),
    "pairs": swap("pairs.tsv", ("house", "mouse")),
}
_OF_FURTHER = {
    f"further teacher: {name}": change
    for name, change in encoder_changes("other").items() if name in ("weights", "activation", "pooling")
}  # fmt: skip
_OF_DISTILL: dict[str, Any] = {
    "distill.teachers": [("hashing_300",), ()], "distill.max_steps": [3], "distill.max_minutes": [1.0],
    "distill.terms.layers": [{-1: -2}], "distill.blend": [{}], "distill.upper_layers": [1],
    "distill.averaging": [0.9],
}  # fmt: skip

_TERMS_OF_HEADS = ("distill.terms.outputs", "distill.terms.outputs_temperature")
_OF_HEADS = ("pooling", "distill.fold_prefix", "corpus.examples", "distill.texts_of_input", *_TERMS_OF_HEADS)
"""Fields that this encoder, which has no head, no prefix and names its pooling, is refused with: see COMPRESS_HEAD."""

COMPRESS = Command(
    prepare=_compression,
    config=CompressConfig.model_validate({
        "model": "teacher", "out": "out", "corpus": _SAMPLING, "distill": _DISTILL, "trim": {"min_count": 1},
        "prune": {"keep_layers": [1]}, "init": "student",
    }),
    call=run_compress,
    changes={
        **_OF_CORPUS, **_OF_FURTHER,
        **{f"teacher: {name}": change for name, change in encoder_changes("teacher").items()},
        "student to start from": weights("student"),
    },
    others=_OF_DISTILL | {
        "init": [None], "corpus.shares": [(2.0,)], "trim.scripts": [("ru",)], "trim.max_pieces": [300],
        "prune.layers": [1],
        "prune.keep_layers": [(0,)], "prune.target_parameters": [10**7], "prune.target_flops": [0.9],
        "prune.target_latency": [0.9], "prune.loss": ["movement"], "prune.refit": [True],
    },
    operational=("evaluate", "stages", "speed_texts", "distill.save_every_minutes"),
    inputs=("model", "out", "data_dir", "corpus.texts", "corpus.pairs", *_OF_HEADS),
    code=("slonik.data.sampling", "slonik.text.tokenizers.trim", "slonik.compression.surgery", "slonik.train.loop",
          "slonik.models.encoder", "slonik.models.modeling_slonik"),
    steps=4,
)  # fmt: skip

DISTILL = Command(
    prepare=_compression,
    config=DistillRecipe.model_validate({
        "model": "student", "teacher": "teacher", "out": "out", "corpus": _SAMPLING, "distill": _DISTILL,
    }),
    call=run_distill,
    changes={
        **_OF_CORPUS, **_OF_FURTHER,
        "teacher: pooling": encoder_changes("teacher")["pooling"], "teacher: weights": weights("teacher"),
        "teacher: activation": encoder_changes("teacher")["activation"],
        **{f"student: {name}": encoder_changes("student")[name] for name in ("weights", "activation", "heads")},
    },
    others={name: others for name, others in _OF_DISTILL.items() if not name.startswith("distill.terms")},
    operational=("distill.save_every_minutes",),
    inputs=("model", "teacher", "out", "corpus", "distill.terms", *_OF_HEADS),  # the latter two as above
    code=("slonik.data.pairs", "slonik.train.optimizers", "slonik.models.pooling"),
    steps=2,
)  # fmt: skip


def _classifier() -> None:
    _compression()
    bare = load("teacher", device="cpu")
    config = TaskConfig(kind="pair", labels=("no", "yes"), columns={"text": ["text", "text_b"]}, max_length=32)
    save_task_model(new_task_model(bare, config, seed=1), "model")
    rows = [{"text": russian, "text_b": english} for english, russian in toy_corpus.pairs()[:40]]
    Path("rows.jsonl").write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")


def _head_weights() -> None:
    tensors = load_file("model/model.safetensors")
    name = max(name for name in tensors if name.startswith("head.") and tensors[name].dim() == 2)
    save_file(tensors | {name: tensors[name] * 2}, "model/model.safetensors", {"format": "pt"})


_ELSEWHERE = [f"distill.{name}" for name in DistillConfig.model_fields if name not in ("texts_of_input", "terms")]
_ELSEWHERE += [f"distill.terms.{name}" for name in DistillationTerms.model_fields if not name.startswith("outputs")]

COMPRESS_HEAD = Command(
    prepare=_classifier,
    config=CompressConfig.model_validate({
        "model": "model", "out": "out", "corpus": {**_SAMPLING, "examples": ["rows.jsonl"]}, "trim": None,
        "distill": {**_DISTILL, "teachers": []}, "prune": {"keep_layers": [0, 2]},
    }),
    call=run_compress,
    changes={
        "labels": fields("model/task.json", labels=["yes", "no"]), "head": _head_weights,
        "rows": swap("rows.jsonl", ("house", "mouse")),
    },
    others={"distill.texts_of_input": [2]},
    inputs=("model", "out", "data_dir", "corpus", "trim", "prune", "init", "pooling", "evaluate", "stages",
            "speed_texts", "seed", *_ELSEWHERE),  # as of COMPRESS
    code=("slonik.compression.head_surgery", "slonik.compression.task_texts", "slonik.compression.task_objective",
          "slonik.models.modeling_slonik_heads"),
    steps=3,
)  # fmt: skip


# pretraining


def _sentences(count: int, seed: int = 0) -> str:
    draw = random.Random(seed)
    return "".join(f"{draw.choice(tiny.TEXTS)} {draw.choice(tiny.TEXTS)}\n" for _ in range(count))


def _adaptation() -> None:
    encoder("model")
    encoder("teacher")
    shape = tiny.config("bert", vocab_size=tiny.tokenizer("wordpiece").get_vocab_size())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        AutoModelForMaskedLM.from_config(shape).save_pretrained("teacher")
    Path("texts").mkdir()
    for number in range(2):
        Path("texts", f"{number}.txt").write_text(_sentences(60, number), encoding="utf-8")
    Path("general.txt").write_text(_sentences(120, 2), encoding="utf-8")


_SETTINGS: dict[str, Any] = {  # of a corpus; what none of these texts has is left out by no filter
    "max_documents": [40], "column": ["body"], "border": [2], "language": ["any"], "duplicates": ["keep"],
}  # fmt: skip


def _of(place: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{place}.{name}": value for name, value in values.items()}


ADAPT = Command(
    prepare=_adaptation,
    config=AdaptConfig.model_validate({
        "model": "model", "out": "out", "max_length": 32, "objective": "mlm", "teacher": "teacher",
        "corpus": {"files": ["texts"], "held_out_share": 0.3},
        "general": {"files": ["general.txt"], "held_out_share": 0.3},
        "train": {"max_steps": 2, "batch_tokens": 400, "evaluations": 1, "precision": "fp32", "trackers": []},
    }),
    call=run_adapt,
    changes={
        "a file of the folder": swap("texts/1.txt", ("слон", "лсон"), ("Слон", "Лсон")),
        "general": swap("general.txt", ("Кошка", "Мышка")),
        "teacher: weights": weights("teacher"), "teacher: activation": encoder_changes("teacher")["activation"],
        **{f"model: {name}": change for name, change in encoder_changes("model", 40).items()},
    },
    others=_of("corpus", _SETTINGS) | {
        "objective": [], "denoisers": [], "every": [2], "teacher": [None], "train.max_steps": [3],
        "head.max_steps": [1], "train.trackers": [("tensorboard",)], "apart": [("0.txt",)], "masking.copies": [2],
        "train.seed": [], "train.best_metric": [], "train.higher_is_better": [], "train.evaluate_every_minutes": [],
        "train.max_minutes": [1.0], "train.betas": [(0.9, 0.99)], "train.patience": [3], "train.epochs": [],
        "train.evaluations": [2], "train.evaluate_every_steps": [], "lora": [{"rank": 2}],
        "train.warmup_steps": [], "train.decay_ratio": [], "train.averaging": [0.9],
    },
    operational=("train.save_every_minutes", "train.trackers", "apart", "corpus.shard_tokens", "train.max_minutes",
                 "train.sharding", "train.device", "train.checkpoints", "train.timeout_minutes", "train.keep",
                 "train.log_every_steps", "train.explosion_factor", "train.gradient_checkpointing",
                 "train.loader_processes"),
    inputs=("model", "out", "format", "corpus.files", "corpus.column", "general", "vocabulary", "task_head"),
    code=("slonik.train.loop", "slonik.pretraining.objectives", "slonik.pretraining.corpus", "slonik.models.loading",
          "slonik.train.objectives.vocabulary_head"),
    steps=5,
)  # fmt: skip


PRETRAIN = Command(
    prepare=lambda: (Path("texts").mkdir(), _pretraining()),
    config=PretrainConfig.model_validate({
        "out": "out", "corpus": {"files": ["texts"], "border": 3, "held_out_share": 0.2},
        "tokenizer": {"vocab_size": 300}, "objective": "mlm", "length": 32, "batch_tokens": 240,
        "model": {"family": "bert", "layers": 1, "hidden": 16, "heads": 2, "max_length": 32},
        "train": {"max_steps": 2, "evaluate_every_steps": 2, "precision": "fp32", "trackers": []},
    }),
    call=run_pretrain,
    changes={
        "a file of the folder": swap("texts/1.txt", ("слон", "лсон"), ("Слон", "Лсон")),
        "a further file": lambda: Path("texts", "2.txt").write_text(_sentences(40, 5), encoding="utf-8"),
    },
    others=_of("corpus", _SETTINGS) | {
        "tokenizer.min_frequency": [2], "tokenizer.sentinels": [9], "tokenizer.special_tokens": [("<x>",)],
        "model.ffn": [40], "model.hidden": [18], "model.heads": [4], "model.options": [{"layer_norm_eps": 1e-6}],
        "denoisers": ["ul2"], "format": ["full_sentences"], "length": [30], "train.max_minutes": [1.0],
        "train.betas": [(0.9, 0.98)], "train.evaluate_every_minutes": [], "train.best_metric": ["loss"],
        "train.patience": [3], "train.trackers": [("tensorboard",)], "held_out.prompts": [("Слон",)], "objective": [],
        "masking.copies": [2], "train.warmup_steps": [1], "train.decay_ratio": [], "train.averaging": [0.9],
        "stages": [({"length": 16, "share": 0.5},)], "batch_warmup": [{"first_tokens": 32, "share": 0.5, "rises": 1}],
    },
    operational=("snapshots", "corpus.shard_tokens", "held_out.prompts", "held_out.new_tokens", "train.max_minutes",
                 "train.sharding", "train.device", "train.save_every_minutes", "train.checkpoints",
                 "train.timeout_minutes", "train.keep", "train.log_every_steps", "train.trackers",
                 "train.explosion_factor", "train.gradient_checkpointing", "train.loader_processes"),
    inputs=("out", "version", "start", "corpus.files", "tokenizer.given", "model.family", "model.decoder_layers",
            "model.head_size"),
)  # fmt: skip


def _pretraining() -> None:
    for number in range(2):
        Path("texts", f"{number}.txt").write_text(_sentences(60, number), encoding="utf-8")


REPETITION = Command(
    prepare=lambda: Path("texts.txt").write_text(_sentences(160), encoding="utf-8"),
    config=RepetitionConfig.model_validate({
        "out": "out", "vocab_size": 450, "length": 24, "steps": 10, "batch_tokens": 96, "evaluations": 2,
        "corpus": {"files": ["texts.txt"], "border": 4, "held_out_share": 0.2}, "parts": [1], "seeds": [0],
        "schedule": None, "objectives": ["mlm"], "measured_sequences": 4,
        "shape": {"layers": 1, "hidden": 16, "heads": 2, "ffn": 32},
    }),
    call=run_repetition,
    changes={"the corpus": swap("texts.txt", ("слон", "лсон"), ("Слон", "Лсон"))},
    others=_of("corpus", _SETTINGS) | {
        "objectives": [("t5",)], "parts": [(1, 2)], "seeds": [(1,)], "schedule": [{"part": 2, "switch": 0.5}],
    },
    operational=("save_every_minutes", "corpus.shard_tokens"),
    inputs=("out", "format", "corpus.files", "corpus.column"),  # plain text has no columns
    code=("slonik.train.loop", "slonik.text.tokenizers.training", "slonik.data.deduplication"),
    steps=2,
)  # fmt: skip


# tasks and taggers


def _rows(seed: int = 0) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    ends = ("точно", "никогда")
    return [
        {"text": f"{draw.choice(NAMES)} в {draw.choice(PLACES)} {ends[n % 2]}", "label": ("да", "не")[n % 2], "id": n}
        for n in range(40)
    ]


def _tasks() -> None:
    encoder("model")
    write_lines(Path("rows.jsonl"), _rows())
    write_lines(Path("valid.jsonl"), _rows(1)[:12])
    own = {"train": "rows.jsonl", "valid": "valid.jsonl"}
    values = {"model": "model", "out": "teacher", "own": own, "seeds": 1, "tuning": {"max_steps": 1, "max_length": 16}}
    run_finetune(FinetuneRecipe.model_validate(values))


FINETUNE = Command(
    prepare=_tasks,
    config=FinetuneRecipe.model_validate({
        "model": "model", "out": "out", "own": {"train": "rows.jsonl", "valid": "valid.jsonl"}, "seeds": 1,
        "tuning": {"max_steps": 2, "max_length": 16, "precision": "fp32"}, "teaching": {"teachers": ["teacher"]},
    }),
    call=run_finetune,
    changes={
        "rows: text": swap("rows.jsonl", ("точно", "вечно")),
        "rows: label": swap("rows.jsonl", ('"label": "да", "id": 0}', '"label": "не", "id": 0}')),
        "rows that are measured": swap("valid.jsonl", ("точно", "вечно")),
        "teacher: weights": weights("teacher"),
        "teacher: activation": fields("teacher/config.json", hidden_act="relu"),
        **{f"model: {name}": change for name, change in encoder_changes("model").items()},
    },
    harmless=("model: pooling", "model: modules"),
    others={
        "own.valid": [None], "own.kind": ["multilabel"], "own.text_columns": [("label",)], "own.label_column": ["id"],
        "own.name": ["other"], "own.group_column": ["id"], "seeds": [2], "per_task": [{"custom": {"max_steps": 3}}],
        "stop_by": ["accuracy"], "tuning.lora": [2], "tuning.lora_alpha": [], "tuning.class_weights": ["balanced"],
        "grid": [{"learning_rate": [1e-3, 1e-4]}], "max_items": [20], "teaching.teachers": [()],
        "tuning.max_steps": [3], "tuning.encoder_dropout": [0.3], "tuning.head": [{"dropout": 0.5}],
        "tuning.batch_tokens": [64], "tuning.patience": [None],
        "tuning.precision": ["bf16"], "tuning.max_length": [12], "answer_tokens": [9],
    },
    operational=("skip_missing", "crossfit", "answer_test", "keep_all", "prompts", "held_out",
                 "tuning.save_every_minutes", "answer_tokens", "own.unlabelled"),
    inputs=("model", "out", "data_dir", "tasks", "own.train", "own.prompts", "few_shot", "thresholds", "tuning.pairs",
            "folds", "tuning.lora_alpha", "denoiser", "shots", "train", "multitask"),
    code=("slonik.train.loop", "slonik.models.modeling_slonik_heads", "slonik.finetuning.metrics",
          "slonik.models.encoder"),
)  # fmt: skip


_LESSON = {"teacher": "teacher", "unlabelled": ["more.txt"], "shortest": 10}
_TAGGER: dict[str, Any] = {
    "name": "tagger", "model": "model", "tuning": {"max_steps": 2, "max_length": 32, "precision": "fp32"},
}  # fmt: skip


def _tagging() -> None:
    encoder("model")
    write_spans_jsonl(documents(), Path("data.jsonl"))
    Path("more.txt").write_text(
        "Хакер Тихий Ворон снова напал на банк «Северный».\nСлон молчит весь день.\n", encoding="utf-8"
    )
    run_tagging(
        TaggerRecipe.model_validate({"data": "data.jsonl", "out": "teacher", "stopping": 0.3, "system": _TAGGER})
    )


_OF_TAGGING: dict[str, Change] = {
    "data: text": swap("data.jsonl", ("сообщает", "отвечает")),
    "data: span": swap("data.jsonl", ('"end": 61, "label": "ORG"', '"end": 61, "label": "LOC"')),
    **{f"model: {name}": change for name, change in encoder_changes("model").items()},
}

NER = Command(
    prepare=_tagging,
    config=TaggerRecipe.model_validate({
        "data": "data.jsonl", "out": "out", "stopping": 0.3, "system": {**_TAGGER, "lesson": _LESSON},
    }),
    call=run_tagging,
    changes=_OF_TAGGING | {
        "unlabelled texts": swap("more.txt", ("Слон", "Кони")),
        "teacher: weights": weights("teacher"), "teacher: activation": fields("teacher/config.json", hidden_act="relu"),
    },
    others={
        "format": ["jsonl"], "mapping.merge": [{"PER": "ORG"}], "mapping.drop": [("PER",)], "mapping.overlaps": [],
        "system.kind": [], "system.name": ["other"], "system.tuning": [{"max_steps": 3}], "system.lesson": [None],
        "system.folds": [(0,)], "system.layers": [1],
    },
    operational=("format", "system.name", "system.folds", "system.optional"),
    inputs=(
        "data", "out", "system.sizes", "system.hand", "system.model", "system.lesson.teacher",
        "system.lesson.unlabelled", "entity_share", "system.lesson.crossfit", "system.lesson.leave_out",
        # The last three: tests/tagging/test_study.py. Of other kinds, or files: tests/tagging/test_outside.py.
        "system.gazetteers", "system.substitution", "system.first", "system.members", "system.nested", "system.width",
        "system.descriptions", "system.vectors",
    ),
    code=("slonik.train.loop", "slonik.models.heads.tokens", "slonik.tagging.distillation", "slonik.models.pooling"),
)  # fmt: skip

STUDY_NER = Command(
    prepare=_tagging,
    config=LadderRecipe.model_validate({
        "data": "data.jsonl", "out": "out", "folds": 2, "run_folds": [0], "stopping": 0.3,
        "systems": [_TAGGER],
    }),
    call=lambda config, announce: run_ner(config, announce, data=config.data, html=None),
    changes={name: _OF_TAGGING[name] for name in ("data: text", "data: span", "model: weights", "model: activation")},
    others={
        "format": ["jsonl"], "mapping.merge": [{"PER": "ORG"}], "mapping.drop": [("PER",)], "mapping.overlaps": [],
        "run_folds": [(1,)], "systems": [({**_TAGGER, "crf": True},)], "folds": [3], "kept_fold": [],
        "learning": [(0.5,)],
    },
    operational=("format",),
    inputs=("data", "out"),
    code=("slonik.train.loop", "slonik.runtime.tagging.windows"),
)  # fmt: skip

COMMANDS: dict[str, Command] = {
    "compress": COMPRESS, "compress a head": COMPRESS_HEAD, "distill": DISTILL, "adapt": ADAPT,
    "finetune": FINETUNE, "finetune ner": NER, "study ner": STUDY_NER, "study repetition": REPETITION,
}  # fmt: skip
