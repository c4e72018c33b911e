"""A release on Cloud Run, step by step.

The new revision gets no traffic until it has answered, then a tenth of it, then all. Where it does
not answer as it should, or Ctrl-C ends this, all traffic stays with, or goes back to, the revision
before.
"""

import base64
import tempfile
from pathlib import Path
from string import Template
from typing import Any

from ruamel.yaml import YAML

from common.errors import InputError
from deploy.google import API_KEYS, NAME, Place, ask, gcloud
from deploy.release.images import built
from deploy.release.smoke import SmokeError, smoke

MANIFEST = Path("deploy/release/service.yaml")
JOB = f"{NAME}-monitor"
CANDIDATE = "candidate"  # the tag by which a revision without traffic is reached
SHARE = 10  # per cent, of the second step

yaml = YAML()


def where(at: Place) -> tuple[str, ...]:
    """Return the flags that say which service is meant."""
    return (f"--region={at.region}", f"--project={at.project}")


def present(at: Place) -> Any:  # noqa: ANN401 - Knative's own
    """Return the service as it is, or None."""
    return ask("run", "services", "describe", NAME, *where(at))


def serving(service: Any) -> dict[str, int]:  # noqa: ANN401 - Knative's own
    """Return each revision's share of the traffic, in per cent."""
    status = service["status"] if service else {}
    if "latestReadyRevisionName" not in status:  # no revision ever started
        return {}
    traffic = status.get("traffic", [])
    return {t["revisionName"]: t["percent"] for t in traffic if t.get("percent")}


def described(at: Place, image: str, keys: str, shares: dict[str, int]) -> dict[str, Any]:
    """Return the service to be: with a new revision, which gets all traffic if it is the first.

    What says the same as before makes no new revision; so it names the version of its keys.
    """
    text = Template(MANIFEST.read_text(encoding="utf-8")).substitute(
        image=image, project=at.project, bucket=at.bucket, account=at.account("serve"), keys=keys
    )
    service: dict[str, Any] = yaml.load(text)
    newest = {"latestRevision": True, "percent": 0 if shares else 100, "tag": CANDIDATE}
    old = [{"revisionName": name, "percent": share} for name, share in shares.items()]
    service["spec"]["traffic"] = [*old, newest]
    return service


def release(at: Place, image: str, model: str, soak: float) -> None:
    """Put an image in use.

    Args:
        at: the place.
        image: its name with its digest.
        model: the version it must answer from.
        soak: seconds to watch it with a tenth of the traffic.

    Raises:
        InputError: it does not answer as it should; the traffic is as it was before.

    """
    shares = serving(present(at))
    before = max(shares, key=lambda name: shares[name], default="")
    keys, key = _keys(at)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "service.yaml"
        yaml.dump(described(at, image, keys, shares), path)
        gcloud("run", "services", "replace", str(path), *where(at))
    service = present(at)
    new, url = service["status"]["latestCreatedRevisionName"], service["status"]["url"]
    candidate = _candidate(service)
    try:
        _try(f"{new} without traffic", candidate, model, key)
        if before not in ("", new):
            _send(at, {before: 100 - SHARE, new: SHARE})
            # Asked by its own address: what the one before answers is no reason to keep that one.
            _try(f"{new} with {SHARE} % of the traffic", candidate, model, key, soak)
        _send(at, {new: 100})
        _try(f"{new} with all traffic", url, model, key)
    except BaseException as error:  # Ctrl-C too leaves no half release
        if before not in ("", new):
            _send(at, {before: 100})
        if not isinstance(error, InputError | KeyboardInterrupt):
            raise
        said = str(error) or "interrupted"
        raise InputError(f"{said}\nin use: {before or new}") from error
    print(f"{url} serves model {model} from {new}")


def report_on(at: Place, tag: str) -> None:
    """Have the daily report judge the model of a commit, if `make cloud` made its job."""
    if not ask("run", "jobs", "describe", JOB, *where(at)):
        print("no daily report: make cloud")
        return
    runs = (f"--image={built(at, 'train', tag)}", "--command=python", "--args=-m,deploy.watch")
    gcloud("run", "jobs", "update", JOB, *runs, *where(at))


def back(at: Place) -> None:
    """Give all traffic to the last revision before the one that has it that answers well."""
    service = present(at)
    shares = serving(service)
    if not shares:
        raise InputError(f"no service {NAME} has traffic in {at.region} of {at.project}")
    listed = ask("run", "revisions", "list", f"--service={NAME}", *where(at)) or []
    listed.sort(key=lambda each: each["metadata"]["creationTimestamp"])
    now = max(shares, key=lambda name: shares[name])
    names = [each["metadata"]["name"] for each in listed]
    earlier = [each for each in listed[: names.index(now)] if not _failed(each)]
    if not earlier:
        raise InputError(f"there is no revision before {now}")
    key = _keys(at)[1]
    for each in reversed(earlier):
        before = each["metadata"]["name"]
        tag = f"--update-tags={CANDIDATE}={before}"
        gcloud("run", "services", "update-traffic", NAME, tag, *where(at))
        try:  # it may be one that was refused when it was released
            _try(f"{before} without traffic", _candidate(present(at)), "", key)
        except InputError as error:
            print(error, flush=True)
            continue
        _send(at, {before: 100})
        try:
            _try(f"{before} with all traffic", service["status"]["url"], "", key)
        except InputError as error:
            _send(at, shares)
            raise InputError(f"{error}\nin use: {now}") from error
        return
    raise InputError(f"no revision before {now} answers as it should; {now} stays in use")


def _candidate(service: Any) -> str:  # noqa: ANN401 - Knative's own
    """Return the address of the revision that is reached by the tag alone."""
    tags = {t.get("tag"): t["url"] for t in service["status"]["traffic"] if t.get("url")}
    return str(tags[CANDIDATE])


def _failed(revision: Any) -> bool:  # noqa: ANN401 - Knative's own
    """Say whether a revision never started; Cloud Run would give it no traffic."""
    conditions = revision.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "False" for each in conditions)


def _try(what: str, url: str, model: str, key: str, seconds: float = 0) -> None:
    try:
        answers = smoke(url, model, key, seconds)
    except SmokeError as error:
        raise InputError(f"{what}: {error}") from error
    print(f"{what}: {answers} of {answers} answers right", flush=True)


def _send(at: Place, shares: dict[str, int]) -> None:
    split = ",".join(f"{name}={share}" for name, share in shares.items())
    gcloud("run", "services", "update-traffic", NAME, f"--to-revisions={split}", *where(at))


def _keys(at: Place) -> tuple[str, str]:
    """Return the version of the callers' keys, and one of them."""
    secret = (f"--secret={API_KEYS}", f"--project={at.project}")
    found = ask("secrets", "versions", "access", "latest", *secret)
    if not found:
        raise InputError(f"the secret {API_KEYS} is not there, or empty: make cloud")
    keys = base64.urlsafe_b64decode(found["payload"]["data"]).decode()
    return found["name"].rpartition("/")[2], keys.split(",")[0].strip()
