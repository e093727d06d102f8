"""A job on this machine, bare or in an Apptainer container: a shell script, a process of its own, a log.

There is no queue: what is submitted runs at once, elements of an array one after the other. `--time` ends an element as
a scheduler would: told to save first, killed two minutes later.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

from slonik.core.errors import SlonikError
from slonik.core.files import runs
from slonik.scaling.job import Job, program, unused
from slonik.scaling.shell import REFUSAL_VARIABLE, elements, exports, in_container, opening, quoted
from slonik.scaling.state import State

FILE = "job.sh"
LOG = "job.log"
_ENDED = "ended"

_BODY = """\
failed=0
for element in $(seq 0 $last); do
    {elements}
    for attempt in $(seq 0 "$retries"); do
        rm -f "$SLONIK_REFUSAL_FILE"
        {program} "${{command[@]}}" &
        running=$!
        wait "$running"; code=$?
        while kill -0 "$running" 2>/dev/null; do wait "$running"; code=$?; done
        if [ "$code" -eq 0 ] || [ "$stopping" -eq 1 ]; then break; fi
        if [ -s "$SLONIK_REFUSAL_FILE" ]; then
            echo "slonik launch: not started again: $(head -n 1 "$SLONIK_REFUSAL_FILE")"
            break
        fi
        if [ "$code" -eq 124 ] || [ "$code" -eq 75 ]; then echo "slonik launch: its time was over"; break; fi
        echo "slonik launch: a process died (exit code $code)"
    done
    echo "$element $code" >> "$record/ended"
    [ "$code" -eq 0 ] || failed=$code
    if [ "$stopping" -eq 1 ]; then break; fi
done
exit "$failed"
"""


def write(job: Job, record: Path) -> dict[str, str]:
    """Name -> content of the files.

    Raises:
        SlonikError: a field that does nothing there.
    """
    options = {
        "queue": "--queue", "gpu_type": "--gpus TYPE:", "cpus": "--cpus", "memory": "--memory",
        "directives": "--directive",
    }  # fmt: skip
    if job.nodes > 1:
        raise SlonikError(f"--nodes {job.nodes} on one machine: use --on slurm, kubernetes or skypilot, or --nodes 1")
    if job.on == "local":
        unused(job, {"image": "--image", "mounts": "--mount", **options}, "with --on local")
    else:
        unused(job, options, "with --on apptainer, which has no queue")
        if job.image is None:
            raise SlonikError(
                "--on apptainer needs --image: a .sif file, or an address such as docker://OWNER/NAME:TAG"
            )
    words = [*in_container(job, [record]), *program(job)]
    if job.seconds is not None:
        words = ["timeout", "--signal=TERM", f"--kill-after={job.lead}", str(job.seconds), *words]
    body = _BODY.format(program=quoted(words), elements="\n    ".join(elements(job, "$element")))
    lines = [
        "#!/bin/bash",
        *opening(job),
        "set -u",
        f"record={shlex.quote(str(record))}",
        f"cd {shlex.quote(str(job.folder))}",
        f"retries={job.retries}",
        f"last={len(job.commands) - 1}",
        *exports(job, {REFUSAL_VARIABLE: '"$record/refused-$$"', "SLONIK_JOB": '"$$"'}),
        f"export TORCH_ELASTIC_SHUTDOWN_TIMEOUT={max(job.lead - 10, 10)}  # torchrun kills after half a minute else",
        "stopping=0; running=",
        "trap 'stopping=1; kill -TERM $running 2>/dev/null' TERM INT",
        *job.setup,
        "",
    ]
    return {FILE: "\n".join(lines) + body}


def submit(record: Path) -> str:
    """Start the script in a session of its own; its process number."""
    (record / _ENDED).unlink(missing_ok=True)
    with open(record / LOG, "ab") as log:
        process = subprocess.Popen(
            ["bash", str(record / FILE)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    return str(process.pid)


def check_apptainer() -> None:
    """Refuse a machine without Apptainer.

    Raises:
        SlonikError: it is not installed.
    """
    if shutil.which("apptainer") is None:
        raise SlonikError(
            "apptainer is not installed here: install it (it is a package of most distributions), or leave --submit "
            "out and take the files to a machine that has it"
        )


def states(identity: str, record: Path, count: int) -> list[State]:
    """What has become of each element.

    Args:
        count: how many there are.
    """
    try:
        lines = (record / _ENDED).read_text().splitlines()
    except OSError:
        lines = []
    codes = {int(element): int(code) for element, code in map(str.split, lines)}
    alive = _alive(identity, record)
    found = []
    for element in range(count):
        if element in codes:
            state, why = ("COMPLETED", "") if codes[element] == 0 else ("FAILED", f"exit code {codes[element]}")
        elif alive:
            state, why = ("RUNNING", "") if element == len(codes) else ("PENDING", "")
        else:
            state, why = "FAILED", "its process is gone"
        found.append(State(element=f"{identity}_{element}" if count > 1 else identity, state=state, why=why))
    return found


def cancel(identity: str, record: Path) -> None:
    """Tell the script to end; its command saves first.

    Raises:
        SlonikError: it does not run.
    """
    if not _alive(identity, record):
        raise SlonikError(f"process {identity} does not run any more: slonik launch status says how it ended")
    os.kill(int(identity), signal.SIGTERM)


def _alive(identity: str, record: Path) -> bool:
    """Whether the process is there and is the script: numbers come again."""
    if not runs(int(identity)):
        return False
    try:
        words = Path(f"/proc/{identity}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return Path("/proc/self").exists() is False  # where there is no /proc, the number has to do
    return str(record / FILE).encode() in words
