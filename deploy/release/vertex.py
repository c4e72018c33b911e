"""A release on a Vertex AI endpoint, which replaces the model deployed there.

The image is that of Cloud Run: it speaks Vertex AI's format. The new model gets a tenth of the
traffic, then, if the endpoint answers well, all; the previous model is removed last.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

from common.errors import InputError
from deploy.google import NAME, GoogleProject, gcloud, gcloud_json
from deploy.release.cloud_run import SHARE
from deploy.release.smoke import TEXTS, is_right

MACHINE = "n1-standard-2"
SERVER = (
    "--container-ports=8080",
    "--container-predict-route=/predict",
    "--container-health-route=/health",
)
ANSWERS = 20  # that must be right while the new model has a tenth of the traffic


def release(project: GoogleProject, image: str, version: str) -> None:
    """Upload a model and give it the traffic step by step; after an error all is as before.

    A deployment that is interrupted while Vertex AI prepares it may still be completed there: the
    next release that succeeds removes it.
    """
    digest = image.rpartition(":")[2][:12]  # other code may serve the same model
    name = f"{NAME}-{version}-{digest}"
    upload = (f"--container-image-uri={image}", *SERVER)
    model = _find_or_make(project, "models", name, "upload", *upload)
    endpoint = _find_or_make(project, "endpoints", NAME, "create")
    path: str = endpoint["name"]
    old: dict[str, int] = endpoint.get("trafficSplit", {})
    before = [each["id"] for each in endpoint.get("deployedModels", [])]  # some without traffic
    first = {"0": SHARE} | _scale_down(old) if old else {"0": 100}
    deployment = (
        *(f"--model={model['name']}", f"--display-name={name}", f"--machine-type={MACHINE}"),
        *("--min-replica-count=1", f"--service-account={project.account('serve')}"),
        f"--traffic-split={_split(first)}",
    )
    try:
        gcloud("ai", "endpoints", "deploy-model", path, *deployment, *project.flags)
        [new] = _added(project, before)
        for _ in range(ANSWERS):
            _test(project, path)
        _send(project, path, dict.fromkeys(old, 0) | {new: 100})
        _test(project, path)
    except BaseException:  # Ctrl-C too leaves no half release
        for new in _added(project, before):
            if old:
                _send(project, path, {new: 0} | old)
            _undeploy(project, path, new)  # it costs as long as it is deployed
        raise
    for key in before:
        _undeploy(project, path, key)
    print(f"{path} serves model {version}")


def _find(project: GoogleProject, kind: str, name: str) -> Any:  # noqa: ANN401 - Vertex AI's own
    models = gcloud_json("ai", kind, "list", *project.flags) or []
    return next((each for each in models if each["displayName"] == name), None)


def _find_or_make(project: GoogleProject, kind: str, name: str, verb: str, *flags: str) -> Any:  # noqa: ANN401 - as above
    if not (item := _find(project, kind, name)):
        gcloud("ai", kind, verb, f"--display-name={name}", *flags, *project.flags)
        item = _find(project, kind, name)
    return item


def _added(project: GoogleProject, before: list[str]) -> list[str]:
    """Return the deployed models that were not deployed before."""
    models = _find(project, "endpoints", NAME).get("deployedModels", [])
    return [each["id"] for each in models if each["id"] not in before]


def _scale_down(old: dict[str, int]) -> dict[str, int]:
    """Scale the old shares to what the new model leaves; the largest gets the rounding's rest."""
    scaled = {key: share * (100 - SHARE) // 100 for key, share in old.items()}
    largest = max(scaled, key=lambda key: scaled[key])
    return scaled | {largest: scaled[largest] + 100 - SHARE - sum(scaled.values())}


def _split(shares: dict[str, int]) -> str:
    return ",".join(f"{key}={share}" for key, share in shares.items())


def _send(project: GoogleProject, endpoint: str, shares: dict[str, int]) -> None:
    split = f"--traffic-split={_split(shares)}"
    gcloud("ai", "endpoints", "update", endpoint, split, *project.flags)


def _undeploy(project: GoogleProject, endpoint: str, key: str) -> None:
    model = f"--deployed-model-id={key}"
    gcloud("ai", "endpoints", "undeploy-model", endpoint, model, *project.flags)


def _test(project: GoogleProject, endpoint: str) -> None:
    """Check one answer of the endpoint, whichever model gives it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "request.json"
        path.write_text(json.dumps({"instances": [{"text": text} for text in TEXTS]}))
        request = f"--json-request={path}"
        answer = gcloud_json("ai", "endpoints", "predict", endpoint, request, *project.flags)
    if not is_right(answer):
        raise InputError(f"{endpoint} answers {answer}")
