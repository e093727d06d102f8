"""Files of deploy/ name what there is: extras, options, routes, the metric that scales; pinned, as an ordinary user."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from slonik.cli.command_line import parse
from slonik.core.version import __version__
from slonik.scaling.kubernetes import USER

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
IMAGES = sorted([*DEPLOY.glob("*/Dockerfile"), *DEPLOY.glob("*/slonik.def")])
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]


def _manifest() -> dict[str, Any]:
    text = (DEPLOY / "serve" / "kubernetes.yaml").read_text(encoding="utf-8")
    return {one["kind"]: one for one in yaml.safe_load_all(text)}


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_images_are_pinned_and_install_the_wheel_with_extras_that_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.search(r"(ARG PYTHON=|From: python:)3\.\d+\.\d+-slim-\w+\n", text) and "latest" not in text
    installs = [line for line in text.replace("\\\n", " ").splitlines() if "pip install" in line]
    assert installs and all("--constraint" in line for line in installs)
    (extras,) = re.findall(r"slonik-\*\.whl\)\[([\w,]+)\]", text)
    assert set(extras.split(",")) <= set(EXTRAS)
    assert ("train" in extras) == (path.parent.name == "train")
    if path.name == "Dockerfile":
        assert f"useradd --create-home --uid {USER} slonik" in text and "\nUSER slonik\n" in text


def test_both_images_of_a_kind_have_the_same_extras_and_python() -> None:
    for kind in ("train", "serve"):
        texts = [(DEPLOY / kind / name).read_text(encoding="utf-8") for name in ("Dockerfile", "slonik.def")]
        for pattern in (r"3\.\d+\.\d+-slim-\w+", r"whl\)\[([\w,]+)\]"):
            assert len({re.findall(pattern, text)[0] for text in texts}) == 1


def test_the_server_of_the_manifest_is_asked_as_it_answers() -> None:
    from slonik.serving.metrics import Metrics

    found = _manifest()
    (container,) = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    program, *words = container["args"]
    options = parse(words).options
    assert (program, options["models"], options["host"]) == ("slonik", ["encoder=/model"], "0.0.0.0")
    assert container["ports"][0]["containerPort"] == options["port"]
    assert container["image"].endswith(f":{__version__}")
    routes = (ROOT / "src" / "slonik" / "serving" / "status.py").read_text(encoding="utf-8")
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert f'"{container[probe]["httpGet"]["path"]}"' in routes
    metrics = Metrics()
    metrics.of_model("m")
    (scaled,) = found["HorizontalPodAutoscaler"]["spec"]["metrics"]
    assert f"\n{scaled['pods']['metric']['name']}{{" in metrics.exposition().decode()
    assert int(scaled["pods"]["target"]["averageValue"]) * 4 == options["max_queue"]
    assert found["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == found["Deployment"]["metadata"]["name"]


def test_the_manifest_is_as_the_published_schemas_want_it() -> None:
    validate = pytest.importorskip("kubernetes_validate").validate
    for one in _manifest().values():
        validate(one, "1.34", strict=True)
