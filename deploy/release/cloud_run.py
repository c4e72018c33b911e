"""A release on Cloud Run, step by step.

The new revision gets no traffic until it has answered, then all. If it answers wrongly, or Ctrl-C
ends the release, the previous revision keeps, or gets back, all traffic.
"""

import base64
import json
import tempfile
from pathlib import Path
from string import Template
from typing import Any

from common.errors import InputError
from deploy.google import API_KEYS, NAME, GoogleProject, gcloud, gcloud_json
from deploy.release.images import get_image
from deploy.release.smoke import smoke

JOB = f"{NAME}-monitor"
CANDIDATE = "candidate"  # the tag whose address reaches a revision without traffic


def describe(project: GoogleProject) -> Any:  # noqa: ANN401 - as Cloud Run returns it
    """Return the service, or None if it does not exist."""
    return gcloud_json("run", "services", "describe", NAME, *project.flags)


def find_in_use(service: Any) -> str:  # noqa: ANN401 - as above
    """Return the revision with the most traffic, "" if no revision ever started."""
    status = service["status"] if service else {}
    if "latestReadyRevisionName" not in status:
        return ""
    traffic = [each for each in status.get("traffic", []) if each.get("percent")]
    return str(max(traffic, key=lambda each: int(each["percent"]))["revisionName"])


def render_service(project: GoogleProject, image: str, keys: str, previous: str) -> str:
    """Return the service with a new revision, in YAML; the revision `previous` keeps the traffic.

    Cloud Run makes no new revision of an equal service. `keys` is the version of the API keys, so
    that new keys make a new revision.
    """
    text = Path("deploy/release/service.yaml").read_text(encoding="utf-8")
    text = Template(text).substitute(
        image=image,
        bucket=project.bucket,
        account=project.account("serve"),
        keys=keys,
    )
    newest = {"latestRevision": True, "percent": 0 if previous else 100, "tag": CANDIDATE}
    others = [{"revisionName": previous, "percent": 100}] if previous else []
    return f"{text}  traffic: {json.dumps([*others, newest])}\n"  # JSON is YAML


def release(project: GoogleProject, image: str, model: str) -> None:
    """Give all traffic to an image, which must answer with the version `model`."""
    previous = find_in_use(describe(project))
    keys, key = _read_keys(project)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "service.yaml"
        path.write_text(render_service(project, image, keys, previous), encoding="utf-8")
        gcloud("run", "services", "replace", str(path), *project.flags)
    service = describe(project)
    revision, url = service["status"]["latestCreatedRevisionName"], service["status"]["url"]
    has_previous = previous not in ("", revision)
    try:
        _test(f"{revision} without traffic", _candidate_url(service), model, key)
        _send_traffic(project, revision)
        _test(f"{revision} with all traffic", url, model, key)
    except BaseException:  # Ctrl-C too must not leave a half release
        if has_previous:
            _send_traffic(project, previous)
        print(f"in use: {previous or revision}", flush=True)
        raise
    print(f"{url} serves model {model} from {revision}")


def update_report(project: GoogleProject, tag: str) -> None:
    """Set the image of the daily report's job, if `make cloud` has created the job."""
    if not gcloud_json("run", "jobs", "describe", JOB, *project.flags):
        print("no daily report: make cloud")
        return
    image = get_image(project, "train", tag)
    options = (f"--image={image}", "--command=python", "--args=-m,deploy.watch")
    gcloud("run", "jobs", "update", JOB, *options, *project.flags)


def _candidate_url(service: Any) -> str:  # noqa: ANN401 - as above
    """Return the address of the revision that has the tag."""
    traffic = service["status"]["traffic"]
    return str(next(each["url"] for each in traffic if each.get("tag") == CANDIDATE))


def _test(step: str, url: str, model: str, key: str) -> None:
    print(f"{step}:", end=" ", flush=True)
    smoke(url, model, key)
    print("right answers", flush=True)


def _send_traffic(project: GoogleProject, revision: str) -> None:
    split = f"--to-revisions={revision}=100"
    gcloud("run", "services", "update-traffic", NAME, split, *project.flags)


def _read_keys(project: GoogleProject) -> tuple[str, str]:
    """Return the version of the callers' keys, and the first key."""
    flags = (f"--secret={API_KEYS}", f"--project={project.id}")
    secret = gcloud_json("secrets", "versions", "access", "latest", *flags)
    if not secret:
        raise InputError(f"the secret {API_KEYS} does not exist, or is empty: make cloud")
    keys = base64.urlsafe_b64decode(secret["payload"]["data"]).decode()
    return secret["name"].rpartition("/")[2], keys.split(",")[0].strip()
