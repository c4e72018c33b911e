"""A release on a Vertex AI endpoint, instead of what is there.

The image is that of Cloud Run: it speaks Vertex AI's format. It gets a tenth of the traffic, then,
if it answers as it should, all; the model before is removed last.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

from common.errors import InputError
from deploy.google import NAME, Place, ask, gcloud
from deploy.release.cloud_run import SHARE
from deploy.release.smoke import TEXTS, right

MACHINE = "n1-standard-2"
SERVER = (
    "--container-ports=8080",
    "--container-predict-route=/predict",
    "--container-health-route=/health",
)
ANSWERS = 20  # that must be right with a tenth of the traffic

Flags = tuple[str, ...]


def release(at: Place, image: str, version: str) -> None:
    """Upload a model and give it the traffic step by step.

    What is interrupted while Vertex AI still makes it ready may come all the same: the next
    deployment that succeeds removes it.

    Raises:
        InputError: it does not answer as it should; the traffic is as it was before.

    """
    where: Flags = (f"--region={at.region}", f"--project={at.project}")
    digest = image.rpartition(":")[2][:12]  # other code may serve the same model
    name = f"{NAME}-{version}-{digest}"
    model = _named("models", name, where)
    if not model:
        uploaded = (f"--display-name={name}", f"--container-image-uri={image}", *SERVER)
        gcloud("ai", "models", "upload", *uploaded, *where)
        model = _named("models", name, where)
    endpoint = _named("endpoints", NAME, where)
    if not endpoint:
        gcloud("ai", "endpoints", "create", f"--display-name={NAME}", *where)
        endpoint = _named("endpoints", NAME, where)
    old: dict[str, int] = endpoint.get("trafficSplit", {})
    before = [each["id"] for each in endpoint.get("deployedModels", [])]  # some without traffic
    first = {"0": SHARE} | _of_rest(old) if old else {"0": 100}
    deployed = (
        *(f"--model={model['name']}", f"--display-name={name}", f"--machine-type={MACHINE}"),
        *("--min-replica-count=1", f"--service-account={at.account('serve')}"),
        f"--traffic-split={_words(first)}",
    )
    try:
        gcloud("ai", "endpoints", "deploy-model", endpoint["name"], *deployed, *where)
        [new] = _added(before, where)
        for _ in range(ANSWERS):
            _try(endpoint["name"], where)
        _send(endpoint["name"], dict.fromkeys(old, 0) | {new: 100}, where)
        _try(endpoint["name"], where)
    except BaseException:  # Ctrl-C too leaves no half release
        for new in _added(before, where):
            if old:
                _send(endpoint["name"], {new: 0} | old, where)
            _undeploy(endpoint["name"], new, where)  # it costs as long as it is there
        raise
    for key in before:
        _undeploy(endpoint["name"], key, where)
    print(f"{endpoint['name']} serves model {version}")


def _named(kind: str, name: str, where: Flags) -> Any:  # noqa: ANN401 - Vertex AI's own
    listed = ask("ai", kind, "list", *where) or []
    return next((each for each in listed if each["displayName"] == name), None)


def _added(before: list[str], where: Flags) -> list[str]:
    """Name what is deployed and was not before."""
    there = _named("endpoints", NAME, where).get("deployedModels", [])
    return [each["id"] for each in there if each["id"] not in before]


def _of_rest(old: dict[str, int]) -> dict[str, int]:
    """Give the models that are there what the new one leaves, the largest what is left over."""
    rest = {key: share * (100 - SHARE) // 100 for key, share in old.items()}
    largest = max(rest, key=lambda key: rest[key])
    return rest | {largest: rest[largest] + 100 - SHARE - sum(rest.values())}


def _words(split: dict[str, int]) -> str:
    return ",".join(f"{key}={share}" for key, share in split.items())


def _send(endpoint: str, split: dict[str, int], where: Flags) -> None:
    gcloud("ai", "endpoints", "update", endpoint, f"--traffic-split={_words(split)}", *where)


def _undeploy(endpoint: str, key: str, where: Flags) -> None:
    gcloud("ai", "endpoints", "undeploy-model", endpoint, f"--deployed-model-id={key}", *where)


def _try(endpoint: str, where: Flags) -> None:
    """Ask the endpoint once, and check that the answer is one, whichever model gives it."""
    with tempfile.TemporaryDirectory() as folder:
        request = Path(folder) / "request.json"
        request.write_text(json.dumps({"instances": [{"text": text} for text in TEXTS]}))
        said = ask("ai", "endpoints", "predict", endpoint, f"--json-request={request}", *where)
    if not right(said):
        raise InputError(f"{endpoint} answers {said}")
