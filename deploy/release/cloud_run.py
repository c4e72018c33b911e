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
from deploy.release.images import built
from deploy.release.smoke import smoke

JOB = f"{NAME}-monitor"
CANDIDATE = "candidate"  # the tag by which a revision without traffic is reached
SHARE = 10  # per cent of the traffic, for the second step
SOAK = 60  # seconds of the second step


def describe(project: GoogleProject) -> Any:  # noqa: ANN401 - as Cloud Run returns it
    """Return the service, or None if it does not exist."""
    return gcloud_json("run", "services", "describe", NAME, *project.flags)


def traffic_of(service: Any) -> dict[str, int]:  # noqa: ANN401 - as above
    """Return each revision's share of the traffic, in per cent."""
    status = service["status"] if service else {}
    if "latestReadyRevisionName" not in status:  # no revision ever started
        return {}
    traffic = status.get("traffic", [])
    return {each["revisionName"]: each["percent"] for each in traffic if each.get("percent")}


def render(project: GoogleProject, image: str, keys: str, shares: dict[str, int]) -> str:
    """Return the service, in YAML, with a new revision, which gets all traffic if it is the first.

    Cloud Run makes no new revision of an equal service; `keys` is the version of the API keys, so
    new keys make a new revision.
    """
    text = Path("deploy/release/service.yaml").read_text(encoding="utf-8")
    text = Template(text).substitute(
        image=image,
        project=project.id,
        bucket=project.bucket,
        account=project.account("serve"),
        keys=keys,
    )
    newest = {"latestRevision": True, "percent": 0 if shares else 100, "tag": CANDIDATE}
    others = [{"revisionName": name, "percent": share} for name, share in shares.items()]
    return f"{text}  traffic: {json.dumps([*others, newest])}\n"  # JSON is YAML


def release(project: GoogleProject, image: str, model: str) -> None:
    """Give all traffic to an image, which must answer with a model's version, step by step."""
    shares = traffic_of(describe(project))
    previous = max(shares, key=lambda name: shares[name], default="")
    keys, key = _keys(project)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "service.yaml"
        path.write_text(render(project, image, keys, shares), encoding="utf-8")
        gcloud("run", "services", "replace", str(path), *project.flags)
    service = describe(project)
    new, url = service["status"]["latestCreatedRevisionName"], service["status"]["url"]
    has_previous = previous not in ("", new)
    candidate = _candidate_url(service)
    try:
        _test(f"{new} without traffic", candidate, model, key)
        if has_previous:
            _send(project, {previous: 100 - SHARE, new: SHARE})
            # By its own address: a wrong answer of the previous revision is no reason to keep it.
            _test(f"{new} with {SHARE} % of the traffic", candidate, model, key, SOAK)
        _send(project, {new: 100})
        _test(f"{new} with all traffic", url, model, key)
    except BaseException:  # Ctrl-C too leaves no half release
        if has_previous:
            _send(project, {previous: 100})
        print(f"in use: {previous or new}", flush=True)
        raise
    print(f"{url} serves model {model} from {new}")


def update_report(project: GoogleProject, tag: str) -> None:
    """Let the daily report's job run a commit's image, if `make cloud` has created the job."""
    if not gcloud_json("run", "jobs", "describe", JOB, *project.flags):
        print("no daily report: make cloud")
        return
    image = built(project, "train", tag)
    options = (f"--image={image}", "--command=python", "--args=-m,deploy.watch")
    gcloud("run", "jobs", "update", JOB, *options, *project.flags)


def back(project: GoogleProject) -> None:
    """Give all traffic to the newest earlier revision that answers well."""
    shares = traffic_of(describe(project))
    if not shares:
        raise InputError(f"no service {NAME} has traffic in {project.region} of {project.id}")
    current = max(shares, key=lambda name: shares[name])
    revisions = gcloud_json("run", "revisions", "list", f"--service={NAME}", *project.flags)
    metadata = sorted((r["metadata"] for r in revisions), key=lambda m: m["creationTimestamp"])
    names = [each["name"] for each in metadata]
    key = _keys(project)[1]
    for name in reversed(names[: names.index(current)]):
        tag = f"--update-tags={CANDIDATE}={name}"
        try:  # the revision may never have started, or a release may have refused it
            gcloud("run", "services", "update-traffic", NAME, tag, *project.flags)
            _test(f"{name} without traffic", _candidate_url(describe(project)), "", key)
        except InputError as error:
            print(error, flush=True)
        else:
            _send(project, {name: 100})
            print(f"in use: {name}")
            return
    raise InputError(f"no revision before {current} answers well; {current} stays in use")


def _candidate_url(service: Any) -> str:  # noqa: ANN401 - as above
    """Return the address of the revision that only the tag reaches."""
    traffic = service["status"]["traffic"]
    return str(next(each["url"] for each in traffic if each.get("tag") == CANDIDATE))


def _test(step: str, url: str, model: str, key: str, seconds: float = 0) -> None:
    print(f"{step}:", end=" ", flush=True)
    smoke(url, model, key, seconds)
    print("right answers", flush=True)


def _send(project: GoogleProject, shares: dict[str, int]) -> None:
    split = "--to-revisions=" + ",".join(f"{name}={share}" for name, share in shares.items())
    gcloud("run", "services", "update-traffic", NAME, split, *project.flags)


def _keys(project: GoogleProject) -> tuple[str, str]:
    """Return the version of the callers' keys, and the first key."""
    flags = (f"--secret={API_KEYS}", f"--project={project.id}")
    secret = gcloud_json("secrets", "versions", "access", "latest", *flags)
    if not secret:
        raise InputError(f"the secret {API_KEYS} does not exist, or is empty: make cloud")
    keys = base64.urlsafe_b64decode(secret["payload"]["data"]).decode()
    return secret["name"].rpartition("/")[2], keys.split(",")[0].strip()
