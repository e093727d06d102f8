"""A job for Slurm: the sbatch file, and what sbatch, squeue, sacct, scontrol and scancel say and do.

The file starts one task per node with srun; where there are several processes that is torchrun, and the tasks meet by
the c10d rendezvous on the first node. Two minutes before the end Slurm signals the batch shell, which passes SIGUSR1 on
to the step: the training writes a checkpoint and ends, and the job goes back into the queue, as it does (a few times)
after a process died. A command that refused its options is not started again.
Source: sbatch(1), srun(1), scontrol(1) of Slurm 22.05 and later.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from slonik.core.errors import SlonikError
from slonik.scaling.job import Job, program, unused
from slonik.scaling.programs import answer, needed
from slonik.scaling.shell import REFUSAL_VARIABLE, elements, exports, in_container, opening, quoted
from slonik.scaling.state import State

FILE = "job.sbatch"
_INDEX = "$SLURM_ARRAY_TASK_ID"
_MEETING = ("--rdzv-backend=c10d", "--rdzv-id=@JOB", "--rdzv-endpoint=@HEAD:@PORT")
_VARIABLES = {"@JOB": "$SLURM_JOB_ID", "@HEAD": "$head", "@PORT": "$((20000 + SLURM_JOB_ID % 20000))"}

_BODY = """\
# Signals go to this shell; the processes of the step get SIGUSR1 from it, save, and end with 75. What does not know the
# signal (torchrun, a step that prepares) ignores it.
ending=0
trap 'ending=1; echo "slonik launch: time is nearly up, saving"; scancel --signal=USR1 "$SLURM_JOB_ID.0"' USR1
srun --kill-on-bad-exit=1 bash -c 'trap "" USR1; exec "$@"' slonik "${program[@]}" "${command[@]}" &
step=$!
wait "$step"; code=$?
while kill -0 "$step" 2>/dev/null; do wait "$step"; code=$?; done

if [ "$code" -eq 0 ]; then rm -f "$deaths"; exit 0; fi
if [ "$ending" -eq 1 ]; then
    rm -f "$deaths"  # it got as far as its time allowed
else
    if [ -s "$SLONIK_REFUSAL_FILE" ]; then
        echo "slonik launch: not started again: $(head -n 1 "$SLONIK_REFUSAL_FILE")"
        exit 2
    fi
    echo "$code" >> "$deaths"
    count=$(wc -l < "$deaths")
    if [ "$count" -gt "$retries" ]; then
        echo "slonik launch: a process died (exit code $code), $count times by now: not started again"
        rm -f "$deaths"
        exit "$code"
    fi
    echo "slonik launch: a process died (exit code $code): started again, $count of $retries times"
fi
if [ "${SLURM_RESTART_COUNT:-0}" -ge 500 ]; then
    echo "slonik launch: put back 500 times: not started again, for it may get nowhere in its time (--time)"
    exit "$code"
fi
scontrol requeue "$SLURM_JOB_ID" || exit "$code"
sleep 60  # Slurm ends this shell when it has put the job back
"""


def write(job: Job, record: Path) -> dict[str, str]:
    """Name -> content of the files.

    Args:
        record: absolute folder of the launch, for logs and notes.

    Raises:
        SlonikError: a field that does nothing there; mounts without an image; claims.
    """
    if job.image is None:
        unused(job, {"mounts": "--mount"}, "under Slurm without --image: the job sees the machine's own folders")
    directives = [
        f"--job-name={job.name}", f"--nodes={job.nodes}", "--ntasks-per-node=1", f"--chdir={job.folder}",
        f"--output={record}/{'%A_%a' if job.array else '%j'}.log", "--open-mode=append", "--requeue",
        f"--signal=B:USR1@{job.lead}",
    ]  # fmt: skip
    if job.array:
        directives.append(f"--array=0-{len(job.commands) - 1}")
    if job.gpus:
        directives.append(f"--gpus-per-node={f'{job.gpu_type}:' if job.gpu_type else ''}{job.gpus}")
    optional = {"cpus-per-task": job.cpus, "mem": job.memory, "partition": job.queue}
    directives += [f"--{name}={value}" for name, value in optional.items() if value is not None]
    if job.seconds is not None:
        directives.append(f"--time={_clock(job.seconds)}")
    words = (
        f"{quoted(in_container(job, [record]))} {_with_variables(quoted(program(job, rendezvous=_MEETING)))}".strip()
    )
    notes = shlex.quote(str(record))
    lines = [
        "#!/bin/bash",
        *opening(job),
        *(f"#SBATCH {directive}" for directive in [*directives, *job.directives]),
        "set -u",
        f"record={notes}",
        f"retries={job.retries}",
        *exports(job, {REFUSAL_VARIABLE: '"$record/refused-$SLURM_JOB_ID"'}),
        'rm -f "$SLONIK_REFUSAL_FILE"',
        'deaths="$record/died-$SLURM_JOB_ID"',
        # srun does not take it over from sbatch since Slurm 22.05.
        *(["export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK"] if job.cpus else []),
        *job.setup,
        *elements(job, _INDEX),
        *(['head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)'] if job.several else []),
        f"program=({words})",
        "",
    ]
    return {FILE: "\n".join(lines) + _BODY}


def submit(record: Path) -> str:
    """Hand the file to sbatch; the job's number.

    Raises:
        SlonikError: there is no Slurm here, or it refuses the job.
    """
    found = answer([needed("sbatch", "Slurm"), "--parsable", str(record / FILE)], "Slurm refused the job")
    return found.split(";")[0].strip()


def states(identity: str) -> list[State]:
    """What Slurm says of a job, one per element; none where it has forgotten it.

    Raises:
        SlonikError: there is no Slurm here, or it does not answer.
    """
    lines = _squeue(identity) or _sacct(identity) or _scontrol(identity)
    return [State(element=element, state=state.split()[0], why=why) for element, state, why in lines]


def log_names(identity: str) -> str:
    """Pattern of the names of the logs in the launch's folder."""
    return f"{identity}*.log"


def cancel(identity: str) -> None:
    """Take a job from the queue, or end it.

    Raises:
        SlonikError: there is no Slurm here, or it refuses.
    """
    answer([needed("scancel", "Slurm"), identity], f"Slurm does not cancel job {identity}")


def _squeue(identity: str) -> list[tuple[str, str, str]]:
    """Jobs that wait or run; squeue fails for a number that it does not know any more."""
    command = [needed("squeue", "Slurm"), "--noheader", "--array", "--jobs", identity, "--format", "%i|%T|%r"]
    try:
        return [_three(line) for line in answer(command, "squeue").splitlines() if line]
    except SlonikError as error:
        if "nvalid job id" in str(error):
            return []
        raise


def _sacct(identity: str) -> list[tuple[str, str, str]]:
    """Jobs that have ended, where the cluster keeps accounts."""
    columns = "--format=JobID,State,ExitCode"
    try:
        found = answer(["sacct", "--noheader", "--parsable2", "--allocations", "--jobs", identity, columns], "sacct")
    except (SlonikError, FileNotFoundError):
        return []
    return [_three(line) for line in found.splitlines() if line]


def _scontrol(identity: str) -> list[tuple[str, str, str]]:
    """Jobs that have ended some minutes ago, as the controller remembers them."""
    try:
        found = answer([needed("scontrol", "Slurm"), "--oneliner", "show", "job", identity], "scontrol")
    except SlonikError:
        return []
    lines = []
    for line in found.splitlines():
        fields = dict(part.split("=", 1) for part in line.split() if "=" in part)
        if "JobState" in fields:
            element = fields["JobId"]
            if "ArrayTaskId" in fields:
                element = f"{fields['ArrayJobId']}_{fields['ArrayTaskId']}"
            lines.append((element, fields["JobState"], fields.get("ExitCode", "")))
    return sorted(lines)


def _three(line: str) -> tuple[str, str, str]:
    element, state, why = line.split("|", 2)
    return element, state, "" if why == "None" else why


def _clock(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    return f"{hours // 24}-{hours % 24:02d}:{rest // 60:02d}:{rest % 60:02d}"


def _with_variables(line: str) -> str:
    """The script's own variables in the place of their marks, which need no quotes in a shell."""
    for mark, variable in _VARIABLES.items():
        line = line.replace(mark, variable)
    return line
