"""Heads of ours in anybody's Python: the code beside the weights gives the same logits; older folders are read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import slonik
from slonik import models
from slonik.compression.surgery import apply
from slonik.models.fresh import Shape, TokenIds, build
from slonik.models.modeling_slonik_heads import PairHead, alignment
from slonik.models.task_model import HEAD_FILE, TaskModel, load_task_model, new_task_model, save_task_model
from slonik.text.batching import pad_fields
from slonik.text.pairs import TaskInput, TextSpan
from slonik.text.task_config import TaskConfig
from tests import tiny
from tests.compression import families as compressed
from tests.models.test_ltg_bert import _model
from tests.models.test_slim import _made

LABELS = ("да", "нет")
PAIR = TaskInput((("Мама мыла раму", "Кто мыл?"),))
SHORT = TaskInput((("Привет", "мир"),))
SPECIAL = TaskInput((("Привет [SEP] и", "мир [SEP]"),))  # that mark as a text of the user's
CASES: dict[str, tuple[TaskConfig, list[TaskInput]]] = {
    "sequence": (TaskConfig(kind="sequence", labels=LABELS, head={"dense": True}), [PAIR, SHORT]),
    "pair": (TaskConfig(kind="pair", labels=LABELS, head={"balance": True, "hidden": 16}), [PAIR, SHORT, SPECIAL]),
    "apart": (
        TaskConfig(kind="pair", labels=LABELS, pairs="separate"),
        [TaskInput((("Мама мыла раму",), ("Кто?",))), TaskInput((("Мама [SEP] мыла",), ("Кто?",)))],
    ),
    "aligned": (
        TaskConfig(kind="pair", labels=LABELS, pairs="separate", head={"alignment": True, "relations": False}),
        [TaskInput((("Мама мыла раму",), ("Кто?",))), TaskInput((("Мама мыла",), ("Кто мыл раму?",)))],
    ),
    "aligned_joint": (TaskConfig(kind="pair", labels=LABELS, head={"alignment": True}), [PAIR, SHORT]),
    "words": (
        TaskConfig(kind="words", labels=LABELS, head={"whole": True}),
        [TaskInput(PAIR.rows, (TextSpan(0, 0, 0, 4), TextSpan(0, 1, 0, 3)))],
    ),
    "choice": (
        TaskConfig(kind="choice", target="choice", head={"relations": True}),
        [TaskInput((("Мама мыла раму", "Кто?"), ("Мама мыла раму", "Где мыла она?")))],
    ),
    "answer": (TaskConfig(kind="answer", target="answer"), [PAIR, SHORT]),
    "tokens": (
        TaskConfig(kind="tokens", target="tags", labels=("O", "B-X", "I-X"), head={"crf": True, "layers": 3}),
        [TaskInput((("Мама мыла раму",),))],
    ),
}  # fmt: skip
ALONE = """
import sys, json
import numpy as np
import transformers
from safetensors.numpy import load_file, save_file
for name in ("slonik",):
    sys.modules[name] = None  # nobody has it here
found = {}
for given in sys.argv[2:]:
    import torch
    auto, folder = given.split("=")
    batch = {key: torch.from_numpy(array) for key, array in load_file(folder + "/batch.safetensors").items()}
    names = json.load(open(folder + "/config.json"))["auto_map"]
    auto = auto or next(name for name in names if "ModelFor" in name and "Masked" not in name)
    model, info = getattr(transformers, auto).from_pretrained(folder, trust_remote_code=True, output_loading_info=True)
    assert not any(info.values()), info
    with torch.no_grad():
        output = model.eval()(**batch)
    outputs = [output[name] for name in ("logits", "last_hidden_state") if name in output]
    found[folder] = (outputs or [torch.stack([output.start_logits, output.end_logits], 1)])[0].numpy()
save_file(found, sys.argv[1])
"""


def encoder(folder: Path, family: str) -> Any:
    """A tiny encoder: of a stock family, one of uneven layers ("slim"), or LTG-BERT."""
    if family == "slim":
        place = tiny.checkpoint(folder, "bert")
        _made("bert").save_pretrained(place)
        return models.load(place)
    place = tiny.checkpoint(folder, "bert" if family == "ltg-bert" else family)
    found = models.load(place)
    if family == "ltg-bert":
        sizes = {"family": "ltg-bert", "layers": 2, "hidden": 32, "heads": 4, "ffn": 40, "max_length": 64}
        made = build(Shape.model_validate(sizes), TokenIds(size=500, pad=1))
        return models.TorchEncoder(made.base_model, found.tokenizer, found.sentence, name="ltg", source=place)
    return found


def batch_of(model: TaskModel, inputs: list[TaskInput]) -> dict[str, Any]:
    return pad_fields([model.pairs.fields(one) for one in inputs], {"input_ids": model.pad_id})


def without_head(folder: Path) -> dict[str, np.ndarray]:
    """What the program is given (an Auto class, a folder) -> what comes out: of uneven layers, of LTG-BERT guessing."""
    tensors = {"input_ids": torch.arange(5, 25).view(2, 10), "attention_mask": torch.ones(2, 10, dtype=torch.int64)}
    whole = compressed.tiny("xlm-roberta")
    uneven, guessing = apply(whole, compressed.some_plan(whole)), _model()
    for name, model in (("uneven", uneven), ("guessing", guessing)):
        model.save_pretrained(folder / name)
        save_file(tensors, folder / name / "batch.safetensors")
    with torch.no_grad():
        hidden, logits = uneven(**tensors).last_hidden_state, guessing(**tensors).logits
    return {
        f"AutoModel={folder / 'uneven'}": hidden.numpy(), f"AutoModelForMaskedLM={folder / 'guessing'}": logits.numpy(),
    }  # fmt: skip


def test_the_code_beside_the_weights_gives_the_same_outputs_without_slonik(tmp_path: Path) -> None:
    """As another program would: through auto_map and the files beside the weights, in a fresh process."""
    cases = [("bert", name) for name in CASES] + [("xlm-roberta", "pair"), ("deberta-v2", "choice")]
    cases += [("modernbert", "apart"), ("slim", "pair"), ("slim", "tokens"), ("ltg-bert", "sequence")]
    wanted = without_head(tmp_path)
    for family, name in cases:
        config, inputs = CASES[name]
        model = new_task_model(encoder(tmp_path / family / name, family), config, seed=1).eval()
        out = save_task_model(model, tmp_path / f"{family}-{name}")
        batch = batch_of(model, inputs)
        tensors = {key: torch.from_numpy(array) for key, array in batch.items()}
        with torch.no_grad():
            wanted[f"={out}"] = model(tensors).numpy()
            torch.testing.assert_close(load_task_model(out)(tensors), model(tensors), atol=1e-6, rtol=0)
            without = {key: tensor for key, tensor in tensors.items() if key != "segments"}
            if name != "answer":
                torch.testing.assert_close(model(without), model(tensors))
        keys = ("input_ids", "attention_mask", "token_type_ids", "spans")
        save_file(
            {key: torch.from_numpy(batch[key]).contiguous() for key in keys if key in batch}, out / "batch.safetensors"
        )
    program = [sys.executable, "-c", ALONE, str(tmp_path / "found"), *wanted]
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1", "PATH": ""}
    done = subprocess.run(program, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = {folder: tensor.numpy() for folder, tensor in load_file(tmp_path / "found").items()}
    assert len(found) == len(wanted)
    for given, expected in wanted.items():
        np.testing.assert_allclose(found[given.partition("=")[2]], expected, atol=1e-5, err_msg=given)


@pytest.mark.parametrize(
    ("target", "labels", "problem"),
    [
        ("single", LABELS, "single_label_classification"),
        ("multi", LABELS, "multi_label_classification"),
        ("number", (), "regression"),
    ],
)
def test_pipelines_are_told_what_the_outputs_of_our_heads_are(
    tmp_path: Path, target: Any, labels: tuple[str, ...], problem: str
) -> None:
    config = TaskConfig(kind="sequence", target=target, labels=labels, columns={"text": ["text"]})
    out = save_task_model(new_task_model(encoder(tmp_path / "bert", "bert"), config), tmp_path / "out")
    assert json.loads((out / "config.json").read_text(encoding="utf-8"))["problem_type"] == problem


def test_uneven_layers_under_a_stock_head_are_our_class_of_that_name(tmp_path: Path) -> None:
    config = TaskConfig(kind="sequence", labels=LABELS, shape="stock", columns={"text": ["text"]})
    model = new_task_model(encoder(tmp_path / "slim", "slim"), config).eval()
    out = save_task_model(model, tmp_path / "out")
    content = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert content["architectures"] == ["SlonikBertForSequenceClassification"] and content["id2label"]["1"] == "нет"
    assert load_task_model(out).predict(["Привет"]) == model.predict(["Привет"])


@pytest.mark.parametrize("name", ["sequence", "pair", "tokens"])
def test_folders_with_the_head_in_a_file_of_its_own_are_read(tmp_path: Path, name: str) -> None:
    config, inputs = CASES[name]
    model = new_task_model(encoder(tmp_path / "bert", "bert"), config).eval()
    out = models.save(model.encoder, tmp_path / "out")
    save_file({key: tensor.contiguous() for key, tensor in model.head.state_dict().items()}, out / HEAD_FILE)
    old = {key: value for key, value in config.model_dump(mode="json").items() if key not in _NEW}
    (out / "task.json").write_text(json.dumps(old), encoding="utf-8")
    again = load_task_model(out)
    batch = {key: torch.from_numpy(array) for key, array in batch_of(model, inputs).items()}
    with torch.no_grad():
        torch.testing.assert_close(again(batch), model(batch), atol=0, rtol=0)
    assert slonik.load(out, backend="torch") is not None


_NEW = ("shape", "activation", "long_texts")


def test_alignment_is_the_best_cosines_of_the_tokens_of_either_text() -> None:
    torch.manual_seed(0)
    hidden = torch.randn(2, 9, 5)
    segments = torch.tensor([[0, 1, 1, 1, 0, 2, 2, 0, 0], [0, 1, 0, 2, 2, 2, 2, 2, 0]])
    found = alignment(hidden, segments)
    for row, marks, values in zip(hidden, segments, found, strict=True):
        first, second = row[marks == 1], row[marks == 2]
        cosines = torch.nn.functional.cosine_similarity(second[:, None], first[None], dim=-1)
        expected = []
        for best in (cosines.amax(1), cosines.amax(0)):
            expected += [best.mean(), best.min(), best.std(unbiased=False)]
        expected += [torch.tensor(float(len(one) + 1)).log() for one in (first, second)]
        torch.testing.assert_close(values, torch.stack(expected), atol=2e-6, rtol=1e-4)
    apart = torch.zeros(2, 2, 9, 5)
    marks = torch.zeros(2, 2, 9, dtype=torch.long)
    for n in range(2):
        for part in (1, 2):
            own = hidden[n][segments[n] == part]
            apart[n, part - 1, 2 : 2 + len(own)], marks[n, part - 1, 2 : 2 + len(own)] = own, 1
    torch.testing.assert_close(alignment(apart, marks), found)
    assert torch.isfinite(alignment(hidden, segments * (segments == 1))).all()  # an empty text
    with pytest.raises(TypeError, match="relations or alignment"):
        PairHead(5, 2, relations=False)
