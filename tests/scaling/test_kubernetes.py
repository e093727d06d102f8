"""What is written for Kubernetes: pods, volumes, queue; published schemas where their packages are installed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import slonik
from slonik.core.errors import SlonikError
from slonik.scaling.kubernetes import object_name
from slonik.scaling.launch import cancel, logs, status

pytestmark = pytest.mark.usefixtures("desk")
COMMAND = "pretrain tiny.yaml --corpus /data/ru.txt --out bert"
OPTIONS: dict[str, Any] = {
    "image": "registry.org/slonik:0.1.0", "mounts": ["work:/work", "/data:/data:ro"], "gpus": "H100:8", "nodes": 2,
    "time": "48:00:00", "queue": "nlp", "cpus": 16, "memory": "64G", "env": {"HF_HOME": "/work/hf"},
}  # fmt: skip


def _objects(on: str, command: str = COMMAND, **options: Any) -> list[dict[str, Any]]:
    made = slonik.launch(command, on=on, **{**OPTIONS, **options})
    return list(yaml.safe_load_all(made.files[0].read_text(encoding="utf-8")))


def _names(volumes: list[dict[str, Any]]) -> list[str]:
    return [one["name"] for one in volumes]


def test_a_job_of_two_nodes_meets_at_its_first_pod_and_takes_the_recipe_along(desk: Path) -> None:
    recipe, service, job = _objects("kubernetes")
    assert recipe["data"]["tiny.yaml"] == (desk / "tiny.yaml").read_text()
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert (spec["completions"], spec["parallelism"], spec["completionMode"]) == (2, 2, "Indexed")
    assert (service["spec"]["clusterIP"], service["metadata"]["name"]) == ("None", pod["subdomain"])
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": "bert"}
    assert "--rdzv-endpoint=bert-0.bert:29400" in container["command"]
    assert container["command"][-6:] == ["pretrain", "/recipes/tiny.yaml", "--corpus", "/data/ru.txt", "--out", "bert"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 8, "cpu": 16, "memory": "64Gi"}
    assert container["workingDir"] == "/work" and pod["nodeSelector"] == {"nvidia.com/gpu.product": "H100"}
    assert _names(container["volumeMounts"]) == _names(pod["volumes"])
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "nlp" and spec["suspend"] is True
    assert pod["securityContext"]["runAsNonRoot"] and pod["restartPolicy"] == "Never"
    assert spec["activeDeadlineSeconds"] == 172800 and pod["terminationGracePeriodSeconds"] == 120
    variables = {one["name"]: one["value"] for one in container["env"]}
    assert json.loads(variables["SLONIK_LAUNCH"])["queue"] == "nlp" and variables["HF_HOME"] == "/work/hf"


@pytest.mark.parametrize(
    "command",
    ["pretrain ./tiny.yaml --corpus x", "compress m --corpus x --recipe tiny.yaml", "compress m --recipe=./tiny.yaml"],
)
def test_the_recipe_is_read_where_the_pod_has_it_however_it_was_written(command: str) -> None:
    job = _objects("kubernetes", f"{command} --out a", nodes=1, gpus=1)[-1]
    words = job["spec"]["template"]["spec"]["containers"][0]["command"]
    assert [word.removeprefix("--recipe=") for word in words if "tiny.yaml" in word] == ["/recipes/tiny.yaml"]


def test_an_array_is_a_job_for_each_value_and_one_process_needs_no_service() -> None:
    command = "distill m --teacher t --seed {seed} --out d-{seed}"
    objects = _objects("kubernetes", command, array="seed=3,5", gpus=1, nodes=1, queue=None)
    assert [(one["kind"], one["metadata"]["name"]) for one in objects] == [("Job", "d-seed-0"), ("Job", "d-seed-1")]
    words = [one["spec"]["template"]["spec"]["containers"][0]["command"] for one in objects]
    assert [line[-3] for line in words] == ["3", "5"] and words[0][:3] == ["python", "-m", "slonik"]
    assert "suspend" not in objects[0]["spec"]


def test_a_train_job_leaves_the_rendezvous_to_its_runtime() -> None:
    _, job = _objects("kubeflow")
    trainer = job["spec"]["trainer"]
    assert (job["kind"], trainer["numNodes"], trainer["numProcPerNode"]) == ("TrainJob", 2, 8)
    assert trainer["command"][:3] == ["env", "--chdir=/work", "torchrun"]
    assert not any("rdzv" in word for word in trainer["command"])
    (node,) = job["spec"]["runtimePatches"][0]["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    pod = node["template"]["spec"]["template"]["spec"]
    assert _names(pod["containers"][0]["volumeMounts"]) == _names(pod["volumes"])


@pytest.mark.parametrize("command", [COMMAND, "distill m --teacher t --seed {seed} --out d-{seed}"])
def test_objects_are_as_the_published_schemas_want_them(command: str) -> None:
    validate = pytest.importorskip("kubernetes_validate").validate
    more = {"array": "seed=0-1", "gpus": 1, "nodes": 1} if "{seed}" in command else {}
    for one in _objects("kubernetes", command, **more):
        validate(one, "1.34", strict=True)


def test_a_train_job_is_as_its_models_want_it() -> None:
    models = pytest.importorskip("kubeflow_trainer_api.models")
    _, job = _objects("kubeflow")
    known = models.TrainerV1alpha1TrainJob.from_dict(job).to_dict()

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: filled(one) for name, one in value.items() if one not in (None, {}, [])}
        return [filled(one) for one in value] if isinstance(value, list) else value

    assert filled(known) == filled(job)  # from_dict passes over fields that it does not know


@pytest.mark.parametrize("name", ["-", "7seas", "a" * 60])
def test_names_that_kubernetes_does_not_take_are_refused(name: str) -> None:
    with pytest.raises(SlonikError, match="is no name for Kubernetes"):
        object_name(name)


@pytest.mark.parametrize(
    ("job", "container", "state", "why", "reason"),
    [
        ({"active": 1}, {"running": {}}, "RUNNING", "", ""),
        ({"active": 1}, {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}, "PENDING",
         "ImagePullBackOff: not found", ""),
        ({"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]},
         {"terminated": {"reason": "OOMKilled"}}, "FAILED", "OOMKilled; BackoffLimitExceeded", "memory"),
        ({"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]}, {}, "FAILED",
         "DeadlineExceeded", "give more with --time"),
        ({"conditions": [{"type": "Complete", "status": "True"}]}, {}, "COMPLETED", "", ""),
    ],
)  # fmt: skip
def test_kubernetes_is_asked_and_its_pods_say_why(
    scheduler: Callable[[str, str], Path], desk: Path, job: Any, container: Any, state: str, why: str, reason: str
) -> None:
    notes = scheduler("kubectl", "")
    made = slonik.launch(COMMAND, on="kubernetes", submit=True, **OPTIONS)
    assert made.job == "bert" and "create -f" in notes.read_text()
    pod = {"metadata": {"name": "bert-0-x7"}, "status": {"containerStatuses": [{"state": container}]}}
    for kind, item in (("job", {"metadata": {"name": "bert"}, "status": job}), ("pod", pod)):
        (desk / kind).write_text(json.dumps({"items": [item]}))
    scheduler("kubectl", f'$(cat "{desk}/$2")')
    (found,) = status("bert")
    assert (found.state, found.why) == (state, why) and reason in found.reason


def test_logs_and_the_end_of_a_job_are_kubectls(scheduler: Callable[[str, str], Path]) -> None:
    scheduler("kubectl", "the log")
    slonik.launch(COMMAND, on="kubernetes", submit=True, **OPTIONS)
    assert logs("bert") == "the log\n"
    notes = scheduler("kubectl", "")
    assert cancel("bert") == "bert"
    assert "delete job,service,configmap --selector slonik.launch/name=bert" in notes.read_text()
