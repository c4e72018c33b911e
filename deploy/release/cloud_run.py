"""A release on Cloud Run, step by step.

The new revision gets no traffic until it has answered, then a tenth of it, then all. If it answers
wrongly, or Ctrl-C ends the release, the previous revision keeps, or gets back, all traffic.
"""

import base64
import tempfile
from pathlib import Path
from string import Template
from typing import Any

from ruamel.yaml import YAML

from common.errors import InputError
from deploy.google import API_KEYS, NAME, GoogleProject, gcloud, gcloud_json
from deploy.release.images import built
from deploy.release.smoke import SmokeError, smoke

MANIFEST = Path("deploy/release/service.yaml")
JOB = f"{NAME}-monitor"
CANDIDATE = "candidate"  # the tag by which a revision without traffic is reached
SHARE = 10  # per cent of the traffic, for the second step

yaml = YAML()
Knative = Any  # a nested dict, as Cloud Run returns it


def describe(project: GoogleProject) -> Knative:
    """Return the service, or None if it does not exist."""
    return gcloud_json("run", "services", "describe", NAME, *project.flags)


def traffic_of(service: Knative) -> dict[str, int]:
    """Return each revision's share of the traffic, in per cent."""
    status = service["status"] if service else {}
    if "latestReadyRevisionName" not in status:  # no revision ever started
        return {}
    traffic = status.get("traffic", [])
    return {each["revisionName"]: each["percent"] for each in traffic if each.get("percent")}


def render(project: GoogleProject, image: str, keys: str, shares: dict[str, int]) -> Knative:
    """Return the service with a new revision, which gets all traffic if it is the first.

    Cloud Run makes no new revision of an equal service; `keys` is the version of the API keys, so
    new keys make a new revision.
    """
    text = Template(MANIFEST.read_text(encoding="utf-8")).substitute(
        image=image,
        project=project.id,
        bucket=project.bucket,
        account=project.account("serve"),
        keys=keys,
    )
    service: dict[str, Any] = yaml.load(text)
    newest = {"latestRevision": True, "percent": 0 if shares else 100, "tag": CANDIDATE}
    others = [{"revisionName": name, "percent": share} for name, share in shares.items()]
    service["spec"]["traffic"] = [*others, newest]
    return service


def release(project: GoogleProject, image: str, model: str, soak: float) -> None:
    """Give all traffic to an image, which must answer with a model's version, step by step.

    It is tested for `soak` seconds with a tenth of the traffic. If it answers wrongly, the traffic
    is as it was before, and an error says so.
    """
    shares = traffic_of(describe(project))
    previous = max(shares, key=lambda name: shares[name], default="")
    keys, key = _keys(project)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "service.yaml"
        yaml.dump(render(project, image, keys, shares), path)
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
            _test(f"{new} with {SHARE} % of the traffic", candidate, model, key, soak)
        _send(project, {new: 100})
        _test(f"{new} with all traffic", url, model, key)
    except BaseException as error:  # Ctrl-C too leaves no half release
        if has_previous:
            _send(project, {previous: 100})
        if not isinstance(error, InputError | KeyboardInterrupt):
            raise
        raise InputError(f"{str(error) or 'interrupted'}\nin use: {previous or new}") from error
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
    service = describe(project)
    shares = traffic_of(service)
    if not shares:
        raise InputError(f"no service {NAME} has traffic in {project.region} of {project.id}")
    revisions = gcloud_json("run", "revisions", "list", f"--service={NAME}", *project.flags) or []
    revisions.sort(key=lambda each: each["metadata"]["creationTimestamp"])
    current = max(shares, key=lambda name: shares[name])
    names = [each["metadata"]["name"] for each in revisions]
    earlier = [each for each in revisions[: names.index(current)] if not _failed(each)]
    if not earlier:
        raise InputError(f"there is no revision before {current}")
    key = _keys(project)[1]
    for each in reversed(earlier):
        name = each["metadata"]["name"]
        tag = f"--update-tags={CANDIDATE}={name}"
        gcloud("run", "services", "update-traffic", NAME, tag, *project.flags)
        try:  # a release may have refused this revision
            _test(f"{name} without traffic", _candidate_url(describe(project)), "", key)
        except InputError as error:
            print(error, flush=True)
            continue
        _send(project, {name: 100})
        try:
            _test(f"{name} with all traffic", service["status"]["url"], "", key)
        except InputError as error:
            _send(project, shares)
            raise InputError(f"{error}\nin use: {current}") from error
        return
    raise InputError(f"no revision before {current} answers well; {current} stays in use")


def _candidate_url(service: Knative) -> str:
    """Return the address of the revision that only the tag reaches."""
    traffic = service["status"]["traffic"]
    return str(next(each["url"] for each in traffic if each.get("tag") == CANDIDATE))


def _failed(revision: Knative) -> bool:
    """Say whether a revision never started; Cloud Run would give it no traffic."""
    conditions = revision.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "False" for each in conditions)


def _test(step: str, url: str, model: str, key: str, seconds: float = 0) -> None:
    try:
        answers = smoke(url, model, key, seconds)
    except SmokeError as error:
        raise InputError(f"{step}: {error}") from error
    print(f"{step}: {answers} of {answers} answers are right", flush=True)


def _send(project: GoogleProject, shares: dict[str, int]) -> None:
    split = ",".join(f"{name}={share}" for name, share in shares.items())
    split = f"--to-revisions={split}"
    gcloud("run", "services", "update-traffic", NAME, split, *project.flags)


def _keys(project: GoogleProject) -> tuple[str, str]:
    """Return the version of the callers' keys, and the first key."""
    flags = (f"--secret={API_KEYS}", f"--project={project.id}")
    secret = gcloud_json("secrets", "versions", "access", "latest", *flags)
    if not secret:
        raise InputError(f"the secret {API_KEYS} does not exist, or is empty: make cloud")
    keys = base64.urlsafe_b64decode(secret["payload"]["data"]).decode()
    return secret["name"].rpartition("/")[2], keys.split(",")[0].strip()
