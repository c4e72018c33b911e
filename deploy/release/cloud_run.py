"""A release on Cloud Run, step by step.

The new revision gets no traffic until it has answered, then a tenth of it, then all. If it answers
wrongly, or Ctrl-C ends the release, the previous revision keeps, or gets back, all traffic.
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
SHARE = 10  # per cent of the traffic, for the second step
SOAK = 60  # seconds of the second step


def describe(project: GoogleProject) -> Any:  # noqa: ANN401 - as Cloud Run returns it
    """Return the service, or None if it does not exist."""
    return gcloud_json("run", "services", "describe", NAME, *project.flags)


def get_traffic(service: Any) -> dict[str, int]:  # noqa: ANN401 - as above
    """Return each revision's share of the traffic, in per cent."""
    status = service["status"] if service else {}
    if "latestReadyRevisionName" not in status:  # no revision ever started
        return {}
    traffic = status.get("traffic", [])
    return {each["revisionName"]: each["percent"] for each in traffic if each.get("percent")}


def render_service(project: GoogleProject, image: str, keys: str, shares: dict[str, int]) -> str:
    """Return the service with a new revision, in YAML; only a first revision gets traffic.

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
    newest = {"latestRevision": True, "percent": 0 if shares else 100, "tag": CANDIDATE}
    others = [{"revisionName": name, "percent": share} for name, share in shares.items()]
    return f"{text}  traffic: {json.dumps([*others, newest])}\n"  # JSON is YAML


def release(project: GoogleProject, image: str, model: str) -> None:
    """Give all traffic to an image, step by step; it must answer with the version `model`."""
    shares = get_traffic(describe(project))
    previous = max(shares, key=lambda name: shares[name], default="")
    keys, key = _read_keys(project)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "service.yaml"
        path.write_text(render_service(project, image, keys, shares), encoding="utf-8")
        gcloud("run", "services", "replace", str(path), *project.flags)
    service = describe(project)
    revision, url = service["status"]["latestCreatedRevisionName"], service["status"]["url"]
    has_previous = previous not in ("", revision)
    candidate = _candidate_url(service)
    try:
        _test(f"{revision} without traffic", candidate, model, key)
        if has_previous:
            _send_traffic(project, {previous: 100 - SHARE, revision: SHARE})
            # At its own address, because the previous revision's answers do not matter.
            _test(f"{revision} with {SHARE} % of the traffic", candidate, model, key, SOAK)
        _send_traffic(project, {revision: 100})
        _test(f"{revision} with all traffic", url, model, key)
    except BaseException:  # Ctrl-C too must not leave a half release
        if has_previous:
            _send_traffic(project, {previous: 100})
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


def back(project: GoogleProject) -> None:
    """Give all traffic to the newest earlier revision that answers rightly."""
    shares = get_traffic(describe(project))
    if not shares:
        raise InputError(f"no service {NAME} has traffic in {project.region} of {project.id}")
    current = max(shares, key=lambda name: shares[name])
    revisions = gcloud_json("run", "revisions", "list", f"--service={NAME}", *project.flags)
    metadata = sorted((r["metadata"] for r in revisions), key=lambda m: m["creationTimestamp"])
    names = [each["name"] for each in metadata]
    key = _read_keys(project)[1]
    for name in reversed(names[: names.index(current)]):
        tag = f"--update-tags={CANDIDATE}={name}"
        try:  # it may never have started, or have failed in a release
            gcloud("run", "services", "update-traffic", NAME, tag, *project.flags)
            _test(f"{name} without traffic", _candidate_url(describe(project)), "", key)
        except InputError as error:
            print(error, flush=True)
        else:
            _send_traffic(project, {name: 100})
            print(f"in use: {name}")
            return
    raise InputError(f"no revision before {current} answers rightly; {current} stays in use")


def _candidate_url(service: Any) -> str:  # noqa: ANN401 - as above
    """Return the address of the revision that has the tag."""
    traffic = service["status"]["traffic"]
    return str(next(each["url"] for each in traffic if each.get("tag") == CANDIDATE))


def _test(step: str, url: str, model: str, key: str, seconds: float = 0) -> None:
    print(f"{step}:", end=" ", flush=True)
    smoke(url, model, key, seconds)
    print("right answers", flush=True)


def _send_traffic(project: GoogleProject, shares: dict[str, int]) -> None:
    split = "--to-revisions=" + ",".join(f"{name}={share}" for name, share in shares.items())
    gcloud("run", "services", "update-traffic", NAME, split, *project.flags)


def _read_keys(project: GoogleProject) -> tuple[str, str]:
    """Return the version of the callers' keys, and the first key."""
    flags = (f"--secret={API_KEYS}", f"--project={project.id}")
    secret = gcloud_json("secrets", "versions", "access", "latest", *flags)
    if not secret:
        raise InputError(f"the secret {API_KEYS} does not exist, or is empty: make cloud")
    keys = base64.urlsafe_b64decode(secret["payload"]["data"]).decode()
    return secret["name"].rpartition("/")[2], keys.split(",")[0].strip()
