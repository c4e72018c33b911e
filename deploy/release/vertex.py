"""A release on a Vertex AI endpoint, which replaces the model deployed there.

The image is that of Cloud Run: it speaks Vertex AI's format. The new model gets a tenth of the
traffic, then, if the endpoint answers well, all; the previous model is removed last.
"""

import json
import tempfile
from typing import Any

from common.errors import InputError
from deploy.google import NAME, GoogleProject, gcloud, gcloud_json
from deploy.release.cloud_run import SHARE
from deploy.release.smoke import BODY, is_right

ANSWERS = 20  # that must be right while the new model has a tenth of the traffic


def release(project: GoogleProject, image: str, version: str) -> None:
    """Upload a model and give it the traffic step by step; after an error all is as before.

    A deployment that is interrupted while Vertex AI prepares it may still be completed there: the
    next release that succeeds removes it.
    """
    digest = image.rpartition(":")[2][:12]  # other code may serve the same model
    name = f"{NAME}-{version}-{digest}"
    routes = ("--container-predict-route=/predict", "--container-health-route=/health")
    server = (f"--container-image-uri={image}", "--container-ports=8080", *routes)
    model = _find_or_make(project, "models", name, "upload", *server)
    endpoint = _find_or_make(project, "endpoints", NAME, "create")
    path: str = endpoint["name"]
    shares: dict[str, int] = endpoint.get("trafficSplit", {})
    previous = [each["id"] for each in endpoint.get("deployedModels", [])]  # some without traffic
    first = {"0": 100}
    if shares:
        first = {"0": SHARE, max(shares, key=lambda key: shares[key]): 100 - SHARE}

    def call(verb: str, *flags: str) -> None:
        gcloud("ai", "endpoints", verb, path, *flags, *project.flags)

    deployment = (
        *(f"--model={model['name']}", f"--display-name={name}", "--machine-type=n1-standard-2"),
        *("--min-replica-count=1", f"--service-account={project.account('serve')}"),
        _split(first),
    )
    try:
        call("deploy-model", *deployment)
        [new] = _added(project, previous)
        for _ in range(ANSWERS):
            _test(project, path)
        call("update", _split(dict.fromkeys(shares, 0) | {new: 100}))
        _test(project, path)
    except BaseException:  # Ctrl-C too leaves no half release
        for new in _added(project, previous):
            if shares:
                call("update", _split({new: 0} | shares))
            call("undeploy-model", f"--deployed-model-id={new}")  # it costs while deployed
        raise
    for key in previous:
        call("undeploy-model", f"--deployed-model-id={key}")
    print(f"{path} serves model {version}")


def _find(project: GoogleProject, kind: str, name: str) -> Any:  # noqa: ANN401 - Vertex AI's own
    models = gcloud_json("ai", kind, "list", *project.flags) or []
    return next((each for each in models if each["displayName"] == name), None)


def _find_or_make(project: GoogleProject, kind: str, name: str, verb: str, *flags: str) -> Any:  # noqa: ANN401 - as above
    if not (item := _find(project, kind, name)):
        gcloud("ai", kind, verb, f"--display-name={name}", *flags, *project.flags)
        item = _find(project, kind, name)
    return item


def _added(project: GoogleProject, previous: list[str]) -> list[str]:
    """Return the deployed models that were not deployed before."""
    models = _find(project, "endpoints", NAME).get("deployedModels", [])
    return [each["id"] for each in models if each["id"] not in previous]


def _split(shares: dict[str, int]) -> str:
    return "--traffic-split=" + ",".join(f"{key}={share}" for key, share in shares.items())


def _test(project: GoogleProject, endpoint: str) -> None:
    """Check one answer of the endpoint, whichever model gives it."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(BODY, file)
        file.flush()
        request = f"--json-request={file.name}"
        answer = gcloud_json("ai", "endpoints", "predict", endpoint, request, *project.flags)
    if not is_right(answer):
        raise InputError(f"{endpoint} answers {answer}")
