"""The library's functions that start commands: `launch` on a scheduler, `sweep` over settings and seeds.

They parse command lines as the command line itself does, and hand what was parsed to `slonik.scaling`.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slonik.core.errors import SlonikError, lookup

if TYPE_CHECKING:
    from slonik.scaling.launch import Launch
    from slonik.scaling.sweep import Sweep, Swept


_CHECKED = 20  # elements of an array: they differ in one value, which the options' parser has seen


def launch(
    command: str | Sequence[str] | Sequence[Sequence[str]],
    *,
    on: str,
    job: str | Path | None = None,
    nodes: int = 1,
    gpus: int | str = 1,
    processes: int | None = None,
    cpus: int | None = None,
    memory: str | None = None,
    time: str | None = None,
    queue: str | None = None,
    image: str | None = None,
    mounts: Sequence[str] = (),
    array: str | None = None,
    env: Mapping[str, str] | None = None,
    setup: Sequence[str] = (),
    directives: Sequence[str] = (),
    python: str | None = None,
    retries: int = 3,
    submit: bool = False,
    announce: Callable[[str], None] | None = None,
) -> Launch:
    """Write the job of a slonik command for a scheduler, and submit it.

    The command is parsed by the real command line, and where the job sees this machine's files it is checked up to the
    moment at which it would begin, recipe included: a mistake is found here and not on the cluster.

    Args:
        command: what would be typed after `slonik`: words, or one string; lists of words make an array of jobs.
        on: "slurm", "kubernetes", "kubeflow", "skypilot", "apptainer" or "local".
        job: the launch's name and place (files go into JOB.launch); None = beside the command's --out.
        nodes: machines. gpus: of each node, 8 or "H100:8". processes: of each node; None = one per GPU. cpus, memory
            ("64G"): of each node.
        time: the most that it may take: "48:00:00", "2-12:00:00", "36h".
        queue: Slurm's partition, Kueue's queue.
        image: container image, a file or an address. mounts: "SOURCE:TARGET[:ro]".
        array: "seed=0-4": one job for each value, put where the command has `{seed}`.
        env: environment variables. setup: shell lines before the command. directives: further lines for sbatch.
        python: interpreter of the job; None = this one, or the image's.
        retries: how often a job that died is started again.
        submit: hand the files to the scheduler.
        announce: called with a line for the user.

    Raises:
        SlonikError: a command or option that is wrong, a time that is none, an image that is not there, another launch
            in the same place, a scheduler that is not installed. Nothing was overwritten.
    """
    from slonik.cli.command_line import checked, parse
    from slonik.core.run import silent
    from slonik.scaling.arrays import expand, without_braces
    from slonik.scaling.job import Mount, read_gpus, read_time
    from slonik.scaling.launch import FROM_HERE, TARGETS
    from slonik.scaling.launch import launch as write

    lookup(on, TARGETS, "place to launch on")
    here, say = on in FROM_HERE, announce or silent
    several = not isinstance(command, str) and any(not isinstance(word, str) for word in command)
    words = [] if several else shlex.split(command) if isinstance(command, str) else [str(word) for word in command]
    elements = [tuple(one) for one in command] if several else expand(words, array)
    lines = [parse(element, here=here) for element in elements]
    _check_launched(lines)
    outs = [line.out for line in lines]
    if here and not several:
        try:
            runs = [checked(line) for line in lines[:_CHECKED]]
            outs[: len(runs)] = [
                str(run.out) if run is not None else line.out for run, line in zip(runs, lines, strict=False)
            ]
        except ModuleNotFoundError as error:
            say(f"the recipe is not checked here, for {error.name} is not installed: the job will check it")
    if not here:
        say(f"options are checked; recipe and paths will be by the job, for {on} does not see this machine's files")
    given = [out for out in outs if out is not None]
    if len(set(given)) < len(given):
        raise SlonikError(f"jobs of --array {array} would write to one --out, {given[0]}: put the value into its name")
    place = Path(job) if job is not None else _launch_place(words, given, array)
    count, kind = read_gpus(str(gpus))
    fields = {
        "on": on, "name": without_braces(place.name), "commands": [line.words for line in lines], "folder": Path.cwd(),
        "nodes": nodes, "gpus": count, "gpu_type": kind, "processes": processes, "cpus": cpus, "memory": memory,
        "seconds": None if time is None else read_time(time), "queue": queue, "image": image,
        "mounts": [Mount.read(mount) for mount in mounts], "env": dict(env or {}), "setup": tuple(setup),
        "directives": tuple(directives), "python": python, "retries": retries, "recipe": lines[0].recipe,
    }  # fmt: skip
    return write(fields, place, submit=submit)


def sweep(
    command: str | Sequence[str],
    *,
    out: str | Path,
    set: Sequence[str] = (),
    seeds: int | None = None,
    by: str | None = None,
    on: str | None = None,
    submit: bool = False,
    announce: Callable[[str], None] | None = None,
    **launch: Any,
) -> Swept:
    """Run a command with every combination of settings and seeds; the same call goes on, and skips what is done.

    Args:
        command: what would be typed after `slonik`, without `--out`: "pretrain r.yaml --corpus ru.txt"; or a recipe
            that says by its fields which command it is of.
        out: folder for the sweep: runs, logs, `sweep.parquet`.
        set: "field=value,value,..." of the recipe.
        seeds: how many, from 0.
        by: metric of the development set, "NAME:min" or "NAME:max"; None = what chose the checkpoints.
        on: a scheduler; the runs that are not done become an array of jobs. None = one after the other, here.
        submit: with `on`: hand the jobs to the scheduler.
        announce: called with a line for the user.
        launch: of `slonik.launch`: nodes, gpus, time, queue, image, ...

    Raises:
        SlonikError: fields that do not exist, a folder of another sweep, a metric of a test set.
        MissingExtra: pyarrow is not installed.
    """
    from slonik.cli.command_line import checked, parse
    from slonik.core.run import silent
    from slonik.scaling.launch import FROM_HERE, TARGETS
    from slonik.scaling.sweep import Sweep, plan

    if on is None and (launch or submit):
        names = ", ".join(f"--{name}" for name in [*launch, *(["submit"] if submit else [])])
        raise SlonikError(f"{names} does nothing without --on: say where the runs are to go, or leave it out")
    if on is not None:
        lookup(on, TARGETS, "place to launch on")
    say, words = announce or silent, shlex.split(command) if isinstance(command, str) else list(command)
    words = _swept_words(words, Path(out))
    line = parse([*words, "--out", str(out)])
    runs = plan(words, set, seeds, Path(out), _seed_words(line))
    if on is None or on in FROM_HERE:
        for run in {one.setting: one for one in runs}.values():
            checked(parse(run.words))
    with Sweep(runs, line.name, line.recipe, Path(out), by=by, announce=say) as found:
        if on is None:
            found.run()
            return found.found()
        _launch_sweep(found, on, submit=submit, announce=say, **launch)
        return found.found()


def _launch_sweep(found: Sweep, on: str, *, submit: bool, announce: Callable[[str], None], **options: Any) -> None:
    """Make an array of jobs of the runs that are not done."""
    from slonik.scaling.launch import open_launches, status

    for name in open_launches(found.out):
        states = status(name)
        if any(not one.ended for one in states):
            announce(
                f"{name} has not ended ({sum(one.ended for one in states)} of {len(states)} jobs have): wait for it"
            )
            return
        for one in states:
            if one.reason:
                announce(f"{one.element}: {one.reason} (log: {one.log})")
    todo = found.todo
    if not todo:
        announce("every run is done")
        return
    for run in todo:
        found.note(run)
    place = found.out / f"jobs-{len(list(found.out.glob('jobs-*.launch'))) + 1}"
    made = launch([list(run.words) for run in todo], on=on, job=place, submit=submit, announce=announce, **options)
    files = ", ".join(map(str, made.files))
    announce(f"{len(todo)} runs, job {made.job}: slonik launch status {made.name}" if submit else f"written: {files}")


def _swept_words(words: Sequence[str], out: Path) -> list[str]:
    """The command's words; a recipe alone is given the command that its fields fit."""
    from slonik.cli.command_line import checked, parse

    owned = [word for word in words if word.partition("=")[0] in ("--out", "--set")]
    if owned:
        raise SlonikError(f"{owned[0]} is the sweep's: give it once, behind the command")
    if not words or not words[0].endswith((".yaml", ".yml")):
        return list(words)
    sentences = []
    for name in ("pretrain", "study ner", "study repetition"):
        try:
            checked(parse([*name.split(), *words, "--out", str(out / "runs" / "x")]))
        except SlonikError as error:
            sentences.append(str(error))
        else:
            return [*name.split(), *words]
    raise SlonikError(
        f"{words[0]} is no whole recipe of pretrain, study ner or study repetition ({sentences[0]}): mend it, or write "
        "the command before it, slonik sweep finetune MODEL RECIPE ..."
    )


def _seed_words(line: Any) -> Callable[[int], Sequence[str]]:
    """The words that give a command one seed."""
    given = line.options.get("seed") is not None
    if line.name == "study repetition" or given:
        why = "has seeds in its recipe" if not given else "was given --seed"

        def refused(seed: int) -> Sequence[str]:
            raise SlonikError(f"slonik {line.name} {why}: leave --seeds out of the sweep, or --seed out of the command")

        return refused
    one = ["--set", "seeds=1"] if line.name == "finetune" and not {"ner", "rerank"} & {*line.options["task"]} else []
    if "seed" in line.options:
        return lambda seed: [*one, "--seed", str(seed)]
    return lambda seed: ["--set", f"seed={seed}"]


def _check_launched(lines: Sequence[Any]) -> None:
    """Refuse commands that are no jobs."""
    name = lines[0].name
    if name == "serve":
        raise SlonikError(
            "a server is no job that ends: deploy/serve/ has a Dockerfile, an Apptainer definition and a manifest for "
            "Kubernetes (docs/cluster.md)"
        )
    if name.split()[0] in ("launch", "sweep"):
        raise SlonikError(f"slonik {name} starts jobs itself: launch the command that does the work")
    if len({line.recipe for line in lines}) > 1:
        raise SlonikError(
            "jobs of one --array read one recipe: put the value into --set, and not into the recipe's name"
        )


def _launch_place(words: Sequence[str], outs: Sequence[str], array: str | None) -> Path:
    """Where the launch is named after the result."""
    from slonik.scaling.arrays import without_braces

    if not outs:
        raise SlonikError(f"slonik {words[0]} has no --out that the job could be named after: give --job NAME")
    if array is None:
        return Path(outs[0])
    following = [word for before, word in pairwise(words) if before == "--out"]
    following += [word.removeprefix("--out=") for word in words if word.startswith("--out=")]
    return Path(without_braces(following[0])) if following else Path(outs[0]).with_name(f"{Path(outs[0]).name}-array")
