"""A second call with one thing changed is never "done before", whatever the command and whatever the thing.

One table for all commands that keep steps or vectors (`identity_commands`): a first call is interrupted before its
result, one input is changed, and the second call must make anew what that input decides, or refuse, and come to what
an undisturbed call comes to. With nothing changed, everything is found done.

Of several things in one folder (the weights, config and tokenizer of a model) the first is followed to what comes out;
of the others it is seen that they make all those steps anew by their inputs, without doing the work.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import itertools
import random
import shutil
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import numpy as np
import pytest
import torch
from pydantic import BaseModel

from slonik.compression import compress as compressing
from slonik.compression import distill as distilling
from slonik.compression import latency
from slonik.compression.distill import distill
from slonik.compression.training import HeldOut
from slonik.core import identity
from slonik.core.config import Config, build_config
from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_file
from slonik.core.run import Run, StepResult, Steps
from slonik.evaluation.encodechka.run import evaluate
from slonik.inspection.probing.run import Options, probe
from slonik.inspection.probing.tasks import read_tasks
from slonik.models import language_model, loading, task_model
from slonik.models.loading import load
from slonik.tagging import fit as tagging_fit
from slonik.text.sentence_config import SentenceConfig
from slonik.train.run_log import read_metrics
from tests import tiny
from tests.compression import toy_corpus
from tests.evaluation.encodechka.samples import write_data
from tests.identity_commands import COMMANDS, DISTILL, PRETRAIN, Command, encoder, encoder_changes

_SEEDS = itertools.count(1)
_VOLATILE = ("step.json", "passport.json", "metrics.jsonl")
_TIMES = ("second", "minutes", "milliseconds", "bytes")


class Stop(Exception):
    """Stands for an interruption before the result."""


@dataclass
class Call:
    """What one call did.

    Attributes:
        said: what was announced.
        steps: those that ended, in their order.
        next: the step that would have been made anew, where the call only looked.
        refused: the sentence, where it was.
        result: what came out: contents of the steps without times.
    """

    said: list[str] = field(default_factory=list)
    steps: list[StepResult] = field(default_factory=list)
    next: str = ""
    refused: str = ""
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def anew(self) -> list[str]:
        """Names of the steps that were made now."""
        return [_name(step) for step in self.steps if step.fresh]


def _name(step: StepResult) -> str:
    return step.folder.name.rpartition("-")[0]


def _contents(folder: Path) -> dict[str, Any]:
    """Name -> hash of the files of a step, and the losses of its training."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and "tensorboard" not in path.parts]
    found: dict[str, Any] = {
        path.relative_to(folder).as_posix(): sha256_file(path) for path in files if path.name not in _VOLATILE
    }
    for path in files:
        if path.name == "metrics.jsonl":
            found["losses"] = [line["loss"] for line in read_metrics(path) if "loss" in line]
    return found


def _timeless(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _timeless(one) for name, one in value.items() if not any(time in name for time in _TIMES)}
    return value


@contextmanager
def watched(*, only_look: bool = False, instead: Mapping[str, StepResult] | None = None) -> Iterator[list[StepResult]]:
    """Steps that end inside, in a run that is interrupted before its result.

    Args:
        only_look: interrupt it before the first step that would be made anew.
        instead: name of a step -> one that ended before, whose files stand for those that it would make anew.
    """
    ended: list[StepResult] = []
    step, end = Steps.step, Steps._ended

    def stop(*_: Any, **__: Any) -> Any:
        raise Stop

    def looking(self: Steps, name: str, inputs: Any, title: str, work: Callable[..., Any], **code: Any) -> StepResult:
        @functools.wraps(work)
        def told(folder: Path) -> Any:
            if instead is None:
                raise Stop(name)
            shutil.copytree(instead[name].folder, folder, dirs_exist_ok=True)
            return instead[name].summary

        return step(self, name, inputs, title, told, **code)

    def ending(self: Steps, result: StepResult) -> StepResult:
        ended.append(result)
        return end(self, result)

    later = itertools.count()
    with pytest.MonkeyPatch.context() as patch:
        # Of so few texts the metric hangs on the last bit of a similarity: the last checkpoint is taken.
        patch.setattr(HeldOut, "__call__", lambda *_: {"choice": float(next(later))})
        patch.setattr(
            tagging_fit, "_evaluation", lambda *_: lambda _: dict.fromkeys(("choice", "f1"), float(next(later)))
        )
        patch.setattr(Run, "result", stop)
        patch.setattr(compressing, "_measured", stop)
        patch.setattr(distilling, "agreement_records", stop)
        patch.setattr(Steps, "_ended", ending)
        if only_look or instead is not None:
            patch.setattr(Steps, "step", looking)
        yield ended


def called(
    command: Command,
    config: Config | None = None,
    *,
    only_look: bool = False,
    instead: Mapping[str, StepResult] | None = None,
) -> Call:
    """One call in the current folder, interrupted before its result; see `watched`."""
    found = Call()
    with watched(only_look=only_look, instead=instead) as steps:
        seed = next(_SEEDS)  # nothing may hang on what was drawn before
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        try:
            command.call(config or command.config, found.said.append)
        except Stop as stopped:
            found.next = str(stopped)
        except SlonikError as error:
            found.refused = str(error)
    found.steps = steps
    found.result = {_name(step): [_contents(step.folder), _timeless(step.summary)] for step in steps}
    return found


@pytest.fixture(autouse=True, scope="module")
def _here() -> Iterator[None]:
    """The cache lies in the current folder and travels with it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLONIK_CACHE", "cache")
        torch.set_num_threads(1)
        yield


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path, Call]]:
    """Name of a command -> its folder of inputs, and a copy of it after a first call, which is there too."""
    made: dict[str, tuple[Path, Path, Call]] = {}

    def prepare(name: str) -> tuple[Path, Path, Call]:
        if name not in made:
            command, place = COMMANDS[name], tmp_path_factory.mktemp("commands")
            with pytest.MonkeyPatch.context() as patch:
                (place / "inputs").mkdir()
                patch.chdir(place / "inputs")
                command.prepare()
                shutil.copytree(place / "inputs", place / "called")
                patch.chdir(place / "called")
                made[name] = place / "inputs", place / "called", called(command)
        return made[name]

    return prepare


def copied(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go on in a copy of `source`."""
    shutil.copytree(source, target)
    monkeypatch.chdir(target)


@pytest.mark.parametrize("name", COMMANDS)
def test_with_nothing_changed_everything_is_done_before(
    name: str, prepared: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, done, first = prepared(name)
    assert not first.refused and len(first.anew) == len(first.steps) == COMMANDS[name].steps
    copied(done, tmp_path / "again", monkeypatch)
    again = called(COMMANDS[name])
    assert not again.refused and again.anew == [] and again.result == first.result
    assert sum("done before" in line for line in again.said) == len(first.steps)


CHANGES = [(name, change) for name, command in COMMANDS.items() for change in command.changes]


def first_of_its_folder(name: str, what: str) -> str:
    """The first change of the same folder: of "model: length", "model: weights"."""
    place = what.partition(": ")[0]
    return next(one for one in COMMANDS[name].changes if one.partition(": ")[0] == place)


FOLLOWED = [
    (name, what) for name, what in CHANGES
    if what == first_of_its_folder(name, what) or what in COMMANDS[name].harmless[:1]
]  # fmt: skip


@pytest.fixture(scope="module")
def looked(prepared: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Call]:
    """(command, change) -> a call after the change, all of whose work is that of the first call."""

    @functools.cache
    def look(name: str, what: str) -> Call:
        _, done, first = prepared(name)
        with pytest.MonkeyPatch.context() as patch:
            copied(done, tmp_path_factory.mktemp("looked") / "changed", patch)
            COMMANDS[name].changes[what]()
            return called(COMMANDS[name], instead={_name(step): step for step in first.steps})

    return look


@pytest.mark.parametrize(("name", "what"), CHANGES, ids=[": ".join(one) for one in CHANGES])
def test_a_changed_input_is_seen(name: str, what: str, looked: Callable[[str, str], Call]) -> None:
    found = looked(name, what)
    if "made from other inputs" in found.refused:
        assert "changed" in found.refused
        return
    assert not found.refused
    assert found.anew and any("made anew" in line for line in found.said)
    assert set(found.anew) >= set(looked(name, first_of_its_folder(name, what)).anew)


@pytest.mark.parametrize(("name", "what"), FOLLOWED, ids=[": ".join(one) for one in FOLLOWED])
def test_what_a_changed_input_decides_is_what_an_undisturbed_call_makes(
    name: str, what: str, prepared: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, done, first = prepared(name)
    command = COMMANDS[name]
    copied(done, tmp_path / "changed", monkeypatch)
    command.changes[what]()
    second = called(command)
    if "made from other inputs" in second.refused:
        assert "changed" in second.refused
        return
    assert not second.refused
    assert second.anew and any("made anew" in line for line in second.said)
    copied(inputs, tmp_path / "undisturbed", monkeypatch)
    command.changes[what]()
    undisturbed = called(command)
    assert second.result == undisturbed.result and second.refused == undisturbed.refused
    assert (second.result == first.result) == (what in command.harmless)


def variants(command: Command) -> Iterator[tuple[str, Config]]:
    """Every field of a command's configuration with another value: (its name, the configuration)."""
    for name, value in _others(command.config, command):
        yield name, changed(command, {name: value})


def changed(command: Command, values: Mapping[str, Any]) -> Config:
    """The configuration of a command with other values of some fields."""
    fields: dict[str, Any] = command.config.model_dump(exclude_unset=True)
    for name, value in values.items():
        inner, *parts = fields, *name.split(".")
        for part in parts[:-1]:
            inner[part] = dict(inner.get(part, {}))
            inner = inner[part]
        inner[parts[-1]] = value
    try:
        return build_config(type(command.config), fields, source="the test")
    except SlonikError as error:
        raise AssertionError(f"{values}: {error}; give another value in `others`") from None


def _others(config: BaseModel, command: Command, place: str = "") -> Iterator[tuple[str, Any]]:
    for name, info in type(config).model_fields.items():
        value, full = getattr(config, name), f"{place}{name}"
        if full in command.inputs:
            continue
        if full in command.others:
            yield from ((full, other) for other in command.others[full])
        elif isinstance(value, BaseModel):
            yield from _others(value, command, f"{full}.")
        else:
            yield full, _other(value, info.annotation, full)


def _other(value: Any, kind: Any, name: str) -> Any:
    """Another value of a field by its type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value * 0.9 or 0.1
    choices = [one for part in _alternatives(kind) if get_origin(part) is Literal for one in get_args(part)]
    found = next((one for one in choices if one != value), None)
    if found is None:
        raise AssertionError(f"{name}: which other value is there? Say so in `others`, or that it decides nothing")
    return found


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def models_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies stand for models that are read again from the same files, which takes six times as long."""
    read, made = loading.from_files, dict[Any, Any]()

    def from_files(*given: Any, **options: Any) -> Any:
        asked = (given, *options.items())
        if asked not in made:
            made[asked] = read(*given, **options)
        return copy.deepcopy(made[asked])

    for module in (loading, language_model, task_model):
        monkeypatch.setattr(module, "from_files", from_files)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_field_of_the_recipe_decides_or_is_known_not_to(
    name: str, prepared: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, done, _ = prepared(name)
    command = COMMANDS[name]
    copied(done, tmp_path / "fields", monkeypatch)
    models_read_once(monkeypatch)
    nothing = {
        field_name: value for field_name, value in _others(command.config, command) if field_name in command.operational
    }
    stale = []
    for field_name, config in variants(command):
        if field_name in nothing:
            continue
        found = called(command, config, only_look=True)
        if not (found.next or "made from other inputs" in found.refused):
            stale.append((field_name, found.refused))
    assert not stale, f"with another value of {stale} all was done before"
    found = called(command, changed(command, nothing), only_look=True)  # all of them at once
    assert not found.next and not found.refused, f"one of {[*nothing]} was thought to decide nothing: {found}"


def other_meaning(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a module of slonik had been written otherwise."""
    reached = identity._reached
    monkeypatch.setattr(
        identity, "_reached",
        lambda names: {one: "other" if one == module else value for one, value in reached(names).items()},
    )  # fmt: skip


CODE = [(name, module) for name, command in COMMANDS.items() for module in command.code]


@pytest.mark.parametrize(("name", "module"), CODE, ids=[": ".join(one) for one in CODE])
def test_another_meaning_of_the_code_is_seen(
    name: str, module: str, prepared: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, done, _ = prepared(name)
    other_meaning(module, monkeypatch)
    copied(done, tmp_path / "code", monkeypatch)
    found = called(COMMANDS[name], only_look=True)
    assert found.next and not found.refused
    assert any(f"the code of {module}" in line for line in found.said)


def test_texts_and_models_in_memory_are_inputs_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    DISTILL.prepare()
    pairs = toy_corpus.pairs()[::2]
    texts = [russian for _, russian in pairs]
    recipe = DISTILL.config.model_dump(exclude_unset=True)

    def anew(**changes: Any) -> list[str]:
        given: dict[str, Any] = {
            "student": load("student"),
            "teacher": [load("teacher")],
            "corpus": texts,
            "pairs": pairs,
        }
        with watched() as steps, contextlib.suppress(Stop):
            distill(**{**given, **changes}, out="out", recipe=recipe)
        return [_name(step) for step in steps if step.fresh]

    assert anew() == ["corpus", "distill"] and anew() == []
    assert anew(corpus=[*texts[:-1], "слон гуляет ночью"]) == ["corpus", "distill"]
    assert anew(pairs=[*pairs[:-1], ("an elephant walks", "слон гуляет ночью")]) == ["corpus", "distill"]
    teacher = load("teacher")
    teacher.sentence = replace(teacher.sentence, modules=SentenceConfig.of("cls").modules)
    assert anew(teacher=[teacher]) == ["distill"]
    student = load("student")
    with torch.no_grad():
        student.model.embeddings.LayerNorm.bias += 0.1
    assert anew(student=student) == ["distill"] and anew() == []


# pretraining: a result that is there is found or refused, and a training is no step


def pretrained(config: Config = PRETRAIN.config, *, stop: bool = False) -> Call:
    """One call in the current folder, up to its result or interrupted before it."""
    if stop:
        return called(PRETRAIN, config)
    found = Call()
    try:
        PRETRAIN.call(config, found.said.append)
        found.result = {"weights": sha256_file("out/model.safetensors")}
    except SlonikError as error:
        found.refused = str(error)
    return found


@pytest.fixture(scope="module")
def model_folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path, Call]:
    """Inputs; with a finished model; with an interrupted training; what the first call did."""
    place = tmp_path_factory.mktemp("pretraining")
    with pytest.MonkeyPatch.context() as patch:
        (place / "inputs").mkdir()
        patch.chdir(place / "inputs")
        PRETRAIN.prepare()
        copied(place / "inputs", place / "finished", patch)
        first = pretrained()
        copied(place / "inputs", place / "interrupted", patch)
        pretrained(stop=True)
    return place / "inputs", place / "finished", place / "interrupted", first


def test_a_model_that_is_there_is_found_by_its_very_call_alone(
    model_folders: tuple[Path, Path, Path, Call], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, finished, _, first = model_folders
    copied(finished, tmp_path / "fields", monkeypatch)
    assert pretrained().result == first.result
    for name, config in variants(PRETRAIN):
        found = pretrained(config)
        if name in PRETRAIN.operational:
            assert not found.refused and any("nothing to do" in line for line in found.said), name
        else:
            assert f"made from other inputs (recipe.{name}" in found.refused, name
    for number, change in enumerate(PRETRAIN.changes.values()):
        copied(finished, tmp_path / str(number), monkeypatch)
        change()
        assert "made from other inputs (corpus." in pretrained().refused
    assert pretrained().result == {} and sha256_file("out/model.safetensors") == first.result["weights"]


@pytest.mark.parametrize("what", ["nothing", *PRETRAIN.changes])
def test_an_interrupted_training_goes_on_with_its_own_corpus_alone(
    what: str, model_folders: tuple[Path, Path, Path, Call], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, _, interrupted, first = model_folders
    change = PRETRAIN.changes.get(what, lambda: None)
    copied(interrupted, tmp_path / "changed", monkeypatch)
    change()
    second = pretrained()
    assert any("was begun with another" in line for line in second.said) == (what != "nothing")
    copied(inputs, tmp_path / "undisturbed", monkeypatch)
    change()
    assert second.result == pretrained().result and (second.result == first.result) == (what == "nothing")


# caches


@dataclass(frozen=True)
class Scored:
    """Values that were measured, and how many texts were encoded for them."""

    values: dict[Any, Any]
    encoded: int


def encodechka(*, cache: bool = True, **options: Any) -> Scored:
    """Two tasks of encodechka: sentences and words."""
    found = evaluate(load("model"), Path("data"), tasks=["sts", "ne1"], use_cache=cache, **options)
    return Scored({key: one.record.value for key, one in found.measured.items()}, found.encoded)


def layers(*, cache: bool = True, **options: Any) -> Scored:
    """A task of probing."""
    tasks = read_tasks(Path("data"))[0]
    found = probe(load("model"), tasks, Options(use_cache=cache, control=False, seeds=(0,), **options))
    return Scored({(r.task, r.metric, r.layer, r.variant): r.value for r in found.records}, found.encoded)


@pytest.fixture(scope="module")
def measured_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, data of both suites, and the vectors of both in its cache."""
    place = tmp_path_factory.mktemp("measured")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        encoder("model")
        write_data(Path("data"))
        rows = [f"{('tr', 'tr', 'va', 'te')[n % 4]}\t{n % 2}\t{text}" for n, text in enumerate(tiny.TEXTS)]
        Path("data/rusenteval").mkdir()
        Path("data/rusenteval/gapping.txt").write_text("\n".join(rows), encoding="utf-8")
        assert encodechka().encoded and layers().encoded
    return place


VECTORS: dict[str, Callable[..., Scored]] = {"encodechka": encodechka, "probing": layers}


@pytest.mark.parametrize(
    "what", [*encoder_changes("model"), "prefix", "slonik.models.encoder", "slonik.models.pooling"]
)
@pytest.mark.parametrize("suite", VECTORS)
def test_kept_vectors_are_those_of_the_very_model(
    suite: str, what: str, measured_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied(measured_model, tmp_path / "changed", monkeypatch)
    measure, options = VECTORS[suite], {}
    before = measure()
    assert before.encoded == 0
    if what in encoder_changes("model"):
        encoder_changes("model")[what]()
    elif what == "prefix":
        options = {"prefix": "запрос: "}
    else:
        other_meaning(what, monkeypatch)
    after = measure(**options)
    anew = (suite, what) != ("encodechka", "length")  # the suite has a length of its own
    assert bool(after.encoded) == anew and after.values == measure(cache=False, **options).values
    assert measure(**options).encoded == 0


def test_kept_times_are_those_of_the_very_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []

    def measuring(model: Any, tokens: int) -> latency.LatencyTable:
        measured.append(tokens)
        return latency.LatencyTable(
            machine="this", tokens=tokens, fixed=1.0, heads=(1,), head_times=(1.0,), neurons=(1,), neuron_times=(1.0,)
        )

    monkeypatch.setattr(latency, "_measure", measuring)
    monkeypatch.chdir(tmp_path)
    model = tiny.model("bert")
    changes: list[Callable[[], object]] = [
        lambda: setattr(model.config, "hidden_act", "relu"), lambda: setattr(model.config, "num_attention_heads", 2),
        lambda: model.to(torch.bfloat16), lambda: monkeypatch.setattr(latency, "machine_name", lambda: "another"),
        lambda: other_meaning("slonik.models.modeling_slonik", monkeypatch),
    ]  # fmt: skip
    for number, change in enumerate([lambda: None, *changes], start=1):
        change()
        for _ in range(2):
            latency.measure(model)
        assert len(measured) == number
    latency.measure(model, tokens=8)
    assert measured[-1] == 8
