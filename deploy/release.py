"""Put this commit's server in use on Cloud Run, step by step, or go back to the one before.

    python -m deploy.release [--back] [--soak SECONDS]

The new revision gets no traffic until it has answered, then a tenth of it, then all. Where it does
not answer as it should, all traffic stays with, or goes back to, the revision before.
"""

import argparse
import tempfile
from pathlib import Path
from string import Template
from typing import Any

from ruamel.yaml import YAML

from deploy.google import API_KEYS, NAME, Place, ask, gcloud, place
from deploy.images import built, commit, locked_model
from deploy.smoke import SmokeError, smoke
from stages.io import InputError, run

MANIFEST = Path("deploy/service.yaml")
CANDIDATE = "candidate"  # the tag by which a revision without traffic is reached
SHARE = 10  # per cent, of the second step

yaml = YAML()


def where(at: Place) -> tuple[str, ...]:
    """Return the flags that say which service is meant."""
    return (f"--region={at.region}", f"--project={at.project}")


def present(at: Place) -> Any:  # noqa: ANN401 - Knative's own
    """Return the service as it is, or None."""
    return ask("run", "services", "describe", NAME, *where(at))


def serving(service: Any) -> dict[str, int]:  # noqa: ANN401
    """Return each revision's share of the traffic, in per cent."""
    traffic = service["status"].get("traffic", []) if service else []
    return {t["revisionName"]: t["percent"] for t in traffic if t.get("percent")}


def described(at: Place, image: str, shares: dict[str, int]) -> dict[str, Any]:
    """Return the service to be: with a new revision, which gets all traffic if it is the first."""
    text = Template(MANIFEST.read_text(encoding="utf-8")).substitute(
        image=image, project=at.project, bucket=at.bucket, account=at.account("serve")
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
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "service.yaml"
        yaml.dump(described(at, image, shares), path)
        gcloud("run", "services", "replace", str(path), *where(at))
    service = present(at)
    new, url = service["status"]["latestCreatedRevisionName"], service["status"]["url"]
    tags = {t.get("tag"): t.get("url") for t in service["status"]["traffic"]}
    key = _key(at)
    try:
        _try(f"{new} without traffic", tags[CANDIDATE], model, key)
        if shares and shares != {new: 100}:
            before = max(shares, key=lambda name: shares[name])
            _send(at, {before: 100 - SHARE, new: SHARE})
            _try(f"{new} with {SHARE} % of the traffic", url, "", key, soak)
        _send(at, {new: 100})
        _try(f"{new} with all traffic", url, model, key)
    except (SmokeError, InputError) as error:
        if shares:
            _send(at, shares)
        kept = ", ".join(shares) or "nothing; there was no revision before"
        raise InputError(f"{error}\nin use: {kept}") from error
    print(f"{url} serves model {model} from {new}")


def back(at: Place) -> None:
    """Give all traffic to the revision before the one that has it."""
    service = present(at)
    if not service:
        raise InputError(f"there is no service {NAME} in {at.region} of {at.project}")
    listed = ask("run", "revisions", "list", f"--service={NAME}", *where(at)) or []
    listed.sort(key=lambda each: each["metadata"]["creationTimestamp"])
    names = [each["metadata"]["name"] for each in listed]
    now = max(serving(service), key=lambda name: serving(service)[name])
    earlier = names[: names.index(now)]
    if not earlier:
        raise InputError(f"there is no revision before {now}")
    _send(at, {earlier[-1]: 100})
    _try(f"{earlier[-1]} with all traffic", service["status"]["url"], "", _key(at))


def _try(what: str, url: str, model: str, key: str, seconds: float = 0) -> None:
    answers = smoke(url, model, key, seconds)
    print(f"{what}: {answers} of {answers} answers right", flush=True)


def _send(at: Place, shares: dict[str, int]) -> None:
    split = ",".join(f"{name}={share}" for name, share in shares.items())
    gcloud("run", "services", "update-traffic", NAME, f"--to-revisions={split}", *where(at))


def _key(at: Place) -> str:
    """Return one of the callers' keys."""
    secret = f"--secret={API_KEYS}"
    keys = gcloud("secrets", "versions", "access", "latest", secret, f"--project={at.project}")
    return keys.split(",")[0].strip()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m deploy.release", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--back", action="store_true", help="to the revision before")
    parser.add_argument(
        "--soak", type=float, default=60, help="seconds with a tenth of the traffic"
    )
    chosen = parser.parse_args()
    at = place()
    if chosen.back:
        back(at)
    else:
        release(at, built(at, "serve", commit()), locked_model(), chosen.soak)


if __name__ == "__main__":
    run(main)
