"""A job for Kubernetes: an indexed Job, or a Kubeflow TrainJob, with Kueue's label, limits and volumes.

Recipes are small files of the user's machine and go along in a ConfigMap; everything else lies on volumes. Pods run as
an ordinary user. A pod that is evicted gets SIGTERM two minutes before it is killed: the training saves, and a new pod
goes on. kubectl is asked for everything.
Sources: batch/v1 Job; trainer.kubeflow.org/v1alpha1 TrainJob of Kubeflow Trainer 2.2 and later (`runtimePatches`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from slonik.core.errors import SlonikError
from slonik.core.passport import LAUNCH_VARIABLE
from slonik.scaling.job import SAVING_SECONDS, Job, program, unused
from slonik.scaling.manifests import yaml_text
from slonik.scaling.programs import answer, needed
from slonik.scaling.shell import opening
from slonik.scaling.state import State

FILE = "job.yaml"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
NAME_LABEL = "slonik.launch/name"
USER = 10001
_RECIPES = "/recipes"
_PORT = 29400
_TRAINER_NODE = "node"  # the replicated job, and its container, of the runtime torch-distributed
_LONGEST = 52  # a pod's name adds the index and five letters, and its hostname has at most 63

Object = dict[str, Any]


def write(job: Job, record: Path) -> dict[str, str]:
    """Name -> content of the files.

    Raises:
        SlonikError: no image, one without a tag, no volume to write to, a field that does nothing there.
    """
    del record
    options = {"setup": "--setup", "directives": "--directive"}
    unused(job, options, "on Kubernetes, where the image brings everything")
    _check(job)
    objects = [_recipe(job)] if job.recipe is not None else []
    for number in range(len(job.commands)):
        objects += [_train_job(job, number)] if job.on == "kubeflow" else _job(job, number)
    return {FILE: "\n".join([*opening(job), yaml_text(objects)])}


def object_name(name: str) -> str:
    """The name as Kubernetes takes it: lower case, digits and hyphens.

    Raises:
        SlonikError: it is too long, or nothing is left.
    """
    plain = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")
    if not plain or not plain[0].isalpha() or len(plain) > _LONGEST:
        raise SlonikError(
            f"{name!r} is no name for Kubernetes ({plain!r}): give one with --job that begins with a letter and has at "
            f"most {_LONGEST} letters, digits and hyphens"
        )
    return plain


def _check(job: Job) -> None:
    if job.image is None:
        raise SlonikError(
            f"--on {job.on} needs --image: the address of an image with slonik in it (deploy/train/Dockerfile "
            "makes one)"
        )
    if "@sha256:" not in job.image and (":" not in job.image.rpartition("/")[2] or job.image.endswith(":latest")):
        raise SlonikError(
            f"--image {job.image} names no version: write ADDRESS:TAG or ADDRESS@sha256:..., so that a job that is "
            "started again runs the same code"
        )
    if not any(not mount.read_only for mount in job.mounts):
        raise SlonikError(
            "what a pod writes goes with it: give a volume that outlives it, --mount CLAIM:/work (a "
            "PersistentVolumeClaim), where --out then lies"
        )
    if job.gpu_type is not None and "/" not in job.gpu_type and not re.fullmatch(r"[A-Za-z0-9._-]{1,63}", job.gpu_type):
        raise SlonikError(f"--gpus {job.gpu_type}: is no label of a node's GPU (nvidia.com/gpu.product)")


def _metadata(job: Job, name: str, *, queued: bool = False) -> Object:
    labels = {NAME_LABEL: object_name(job.name)}
    if queued and job.queue is not None:
        labels[QUEUE_LABEL] = job.queue
    return {"name": name, "labels": labels}


def _element_name(job: Job, number: int) -> str:
    return f"{object_name(job.name)}-{number}" if job.array else object_name(job.name)


def _recipe(job: Job) -> Object:
    assert job.recipe is not None
    content = (job.folder / job.recipe).read_text(encoding="utf-8")
    return {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(job, f"{object_name(job.name)}-recipe"),
        "data": {job.recipe.name: content},
    }  # fmt: skip


def _words(job: Job, number: int) -> list[str]:
    """The element's words, with the recipe where the ConfigMap puts it."""
    words, recipe = list(job.commands[number]), job.recipe
    if recipe is None:
        return words
    place = f"{_RECIPES}/{recipe.name}"
    options = {f"--recipe={word}": f"--recipe={place}" for word in (str(recipe), f"./{recipe}")}
    return [place if Path(word) == recipe else options.get(word, word) for word in words]


def _environment(job: Job, name: str) -> list[Object]:
    variables = {
        LAUNCH_VARIABLE: json.dumps(job.told(), ensure_ascii=False),
        "SLONIK_JOB": name,
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(SAVING_SECONDS - 10),
        "HOME": "/tmp",
        **job.env,
    }
    return [{"name": key, "value": value} for key, value in variables.items()]


def _resources(job: Job) -> Object:
    wanted: Object = {}
    if job.gpus:
        wanted["nvidia.com/gpu"] = job.gpus
    if job.cpus is not None:
        wanted["cpu"] = job.cpus
    if job.memory is not None:
        wanted["memory"] = f"{job.memory}i"
    return {"requests": dict(wanted), "limits": wanted} if wanted else {}


def _volumes(job: Job) -> tuple[list[Object], list[Object]]:
    """Volumes of the pod, and where the container has them."""
    volumes: list[Object] = [{"name": "shared-memory", "emptyDir": {"medium": "Memory"}}]
    places: list[Object] = [{"name": "shared-memory", "mountPath": "/dev/shm"}]
    for number, mount in enumerate(job.mounts):
        source: Object = {"hostPath": {"path": mount.source}}
        if mount.claim:
            source = {"persistentVolumeClaim": {"claimName": mount.source, "readOnly": mount.read_only}}
        volumes.append({"name": f"mount-{number}", **source})
        places.append({"name": f"mount-{number}", "mountPath": mount.target, "readOnly": mount.read_only})
    if job.recipe is not None:
        volumes.append({"name": "recipe", "configMap": {"name": f"{object_name(job.name)}-recipe"}})
        places.append({"name": "recipe", "mountPath": _RECIPES, "readOnly": True})
    return volumes, places


def _pod(job: Job) -> Object:
    """What the pods of both kinds have in common."""
    pod: Object = {
        "terminationGracePeriodSeconds": SAVING_SECONDS,
        "securityContext": {"runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER},
        "volumes": _volumes(job)[0],
    }
    if job.gpu_type is not None:
        pod["nodeSelector"] = {"nvidia.com/gpu.product": job.gpu_type}
    return pod


def _working_folder(job: Job) -> str:
    """The first volume that may be written to: relative paths of the command lie there."""
    return next(mount.target for mount in job.mounts if not mount.read_only)


_CONTAINER_SECURITY = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def _job(job: Job, number: int) -> list[Object]:
    """The Job of an element, and the Service by which its pods find the first of them."""
    name = _element_name(job, number)
    meeting = ("--rdzv-backend=c10d", f"--rdzv-id={name}", f"--rdzv-endpoint={name}-0.{name}:{_PORT}")
    container = {
        "name": "slonik", "image": job.image,
        "command": [*program(job, rendezvous=meeting if job.nodes > 1 else ()), *_words(job, number)],
        "workingDir": _working_folder(job), "env": _environment(job, name), "resources": _resources(job),
        "volumeMounts": _volumes(job)[1], "securityContext": _CONTAINER_SECURITY,
    }  # fmt: skip
    pod = {"restartPolicy": "Never", **_pod(job), "containers": [container]}
    if job.nodes > 1:
        pod["subdomain"] = name
    spec: Object = {
        "completions": job.nodes,
        "parallelism": job.nodes,
        "completionMode": "Indexed",
        "backoffLimit": job.retries * job.nodes,  # when one pod dies, those that waited for it die too
        # An evicted pod is no failure; a command that refuses its options (2) would refuse them again.
        "podFailurePolicy": {
            "rules": [
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [2]}},
            ]
        },
        "template": {"metadata": {"labels": {NAME_LABEL: object_name(job.name)}}, "spec": pod},
    }
    if job.queue is not None:
        spec["suspend"] = True  # Kueue starts it
    if job.seconds is not None:
        spec["activeDeadlineSeconds"] = job.seconds
    objects = [{"apiVersion": "batch/v1", "kind": "Job", "metadata": _metadata(job, name, queued=True), "spec": spec}]
    if job.nodes == 1:
        return objects
    service = {
        "clusterIP": "None", "selector": {"batch.kubernetes.io/job-name": name},
        "publishNotReadyAddresses": True, "ports": [{"name": "rendezvous", "port": _PORT}],
    }  # fmt: skip
    return [{"apiVersion": "v1", "kind": "Service", "metadata": _metadata(job, name), "spec": service}, *objects]


def _train_job(job: Job, number: int) -> Object:
    """The TrainJob of an element; the runtime sets torchrun's PET_... variables, so it has no options here."""
    name = _element_name(job, number)
    node = {"spec": {**_pod(job), "containers": [{"name": _TRAINER_NODE, "volumeMounts": _volumes(job)[1]}]}}
    patch = {
        "manager": "slonik.launch/volumes",
        "trainingRuntimeSpec": {
            "template": {
                "spec": {"replicatedJobs": [{"name": _TRAINER_NODE, "template": {"spec": {"template": node}}}]}
            }
        },
    }
    # The patch of a container has no working folder: env(1) goes there.
    words = ["env", f"--chdir={_working_folder(job)}", "torchrun", "--max-restarts=0", "-m", "slonik"]
    spec: Object = {
        "runtimeRef": {"kind": "ClusterTrainingRuntime", "name": "torch-distributed"},
        "trainer": {
            "image": job.image, "command": [*words, *_words(job, number)], "numNodes": job.nodes,
            "numProcPerNode": job.per_node, "resourcesPerNode": _resources(job), "env": _environment(job, name),
        },
        "runtimePatches": [patch],
    }  # fmt: skip
    if job.queue is not None:
        spec["suspend"] = True
    if job.seconds is not None:
        spec["activeDeadlineSeconds"] = job.seconds
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "TrainJob",
        "metadata": _metadata(job, name, queued=True), "spec": spec,
    }  # fmt: skip


def submit(record: Path) -> str:
    """Create the objects; the name by which they are found.

    Raises:
        SlonikError: there is no kubectl here, or the cluster refuses an object.
    """
    kubectl = needed("kubectl", "Kubernetes")
    answer([kubectl, "create", "-f", str(record / FILE)], "Kubernetes refused the job")
    labelled = [one for one in yaml.safe_load_all((record / FILE).read_text(encoding="utf-8")) if one]
    return str(labelled[0]["metadata"]["labels"][NAME_LABEL])


def states(identity: str, on: str) -> list[State]:
    """What Kubernetes says of each element.

    Raises:
        SlonikError: there is no kubectl here, or it does not answer.
    """
    kind = "trainjob" if on == "kubeflow" else "job"
    found = [_state(item) for item in _items(kind, identity)]
    return [state if state.well else _of_pods(state, identity) for state in found]


def _items(kind: str, identity: str) -> list[Mapping[str, Any]]:
    kubectl = needed("kubectl", "Kubernetes")
    command = [kubectl, "get", kind, "--selector", f"{NAME_LABEL}={identity}", "--output", "json"]
    items: list[Mapping[str, Any]] = json.loads(answer(command, "Kubernetes does not answer")).get("items", [])
    return items


def _state(item: Mapping[str, Any]) -> State:
    status, name = item.get("status", {}), item["metadata"]["name"]
    conditions = {one["type"]: one for one in status.get("conditions", []) if one.get("status") == "True"}
    for kind, state in (("Complete", "COMPLETED"), ("Failed", "FAILED"), ("Suspended", "PENDING")):
        if kind in conditions:
            one = conditions[kind]
            return State(name, state, ": ".join(filter(None, (one.get("reason"), one.get("message")))))
    return State(name, "RUNNING" if status.get("active") or status.get("jobsStatus") else "PENDING")


def _of_pods(state: State, identity: str) -> State:
    """The same, with what its pods say: an image that is not there, no node with so many GPUs, killed for memory."""
    for pod in _items("pod", identity):
        if not str(pod["metadata"]["name"]).startswith(f"{state.element}-"):
            continue
        for container in pod.get("status", {}).get("containerStatuses", []):
            ended = container.get("state", {}).get("terminated") or {}
            if state.ended and ended.get("reason") == "OOMKilled":
                return State(state.element, state.state, f"OOMKilled; {state.why}")
            waiting = container.get("state", {}).get("waiting")
            if waiting and waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
                why = f"{waiting['reason']}: {waiting.get('message', container.get('image', ''))}"
                return State(state.element, "PENDING", why)
        for one in pod.get("status", {}).get("conditions", []):
            if one.get("type") == "PodScheduled" and one.get("status") == "False":
                return State(state.element, "PENDING", str(one.get("message", "")))
    return state


def logs(identity: str, lines: int) -> str:
    """The last lines of every pod.

    Raises:
        SlonikError: there is no kubectl here, or it does not answer.
    """
    kubectl = needed("kubectl", "Kubernetes")
    command = [kubectl, "logs", "--selector", f"{NAME_LABEL}={identity}", "--prefix", f"--tail={lines}"]
    return answer([*command, "--max-log-requests=64"], "Kubernetes has no log")


def cancel(identity: str, on: str) -> None:
    """Delete the jobs with their pods; volumes stay.

    Raises:
        SlonikError: there is no kubectl here, or it refuses.
    """
    kubectl = needed("kubectl", "Kubernetes")
    kinds = "trainjob,configmap" if on == "kubeflow" else "job,service,configmap"
    command = [kubectl, "delete", kinds, "--selector", f"{NAME_LABEL}={identity}", "--ignore-not-found"]
    answer(command, f"Kubernetes does not delete {identity}")
