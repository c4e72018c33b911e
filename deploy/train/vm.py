"""A training on a spot VM with a T4, or one VM after another.

Where a zone has no T4 free, the next is tried; a VM that Google takes away is followed by another,
which goes on from the checkpoints in the bucket.
"""

import re
import time
from collections.abc import Iterator

from common.errors import InputError
from deploy.google import NAME, GcloudError, Place, ask, gcloud

SCRIPT = "deploy/train/vm.sh"
MACHINE = "n1-standard-4"
GPU = "nvidia-tesla-t4"
# Ubuntu with driver 580, which torch's CUDA 13 needs, docker and gcsfuse. What there is now:
# gcloud compute images list --project=deeplearning-platform-release --no-standard-images
IMAGE = (
    "--image-family=common-cu129-ubuntu-2204-nvidia-580",
    "--image-project=deeplearning-platform-release",
)
TAKEN = re.compile(r"ZONE_RESOURCE_POOL_EXHAUSTED|does not have enough resources|QUOTA|[Qq]uota")
QUOTAS = "https://console.cloud.google.com/iam-admin/quotas"
SECONDS = 15  # between two looks at a VM


class NoneFreeError(Exception):
    """A zone has no T4 to give now."""


def zones(at: Place, wanted: list[str]) -> list[str]:
    """Return where to look for a T4: the place's own region first, then its continent's others.

    Raises:
        InputError: there is no T4 on that continent.

    """
    if wanted:
        return wanted
    listed = ask(
        *("compute", "accelerator-types", "list", f"--filter=name={GPU}"), f"--project={at.project}"
    )
    found = sorted(each["zone"].rpartition("/")[2] for each in listed or [])
    near = [zone for zone in found if zone.partition("-")[0] == at.region.partition("-")[0]]
    if not near:
        raise InputError(f"no zone near {at.region} has an {GPU}: name some with --zones")
    return sorted(near, key=lambda zone: (not zone.startswith(at.region), zone))


def create(at: Place, name: str, zone: str, image: str, hours: float) -> None:
    """Create the VM.

    Raises:
        NoneFreeError: the zone has no T4, or the project no quota for one there.

    """
    about = {"image": image, "bucket": at.bucket, "run": name}
    try:
        gcloud(
            *("compute", "instances", "create", name, f"--zone={zone}", f"--project={at.project}"),
            *(f"--machine-type={MACHINE}", f"--accelerator=type={GPU},count=1", *IMAGE),
            *("--provisioning-model=SPOT", "--instance-termination-action=DELETE"),
            *(f"--max-run-duration={int(hours * 3600)}s", "--maintenance-policy=TERMINATE"),
            *("--boot-disk-size=100GB", "--boot-disk-type=pd-balanced", f"--labels=app={NAME}"),
            *(f"--service-account={at.account('train')}", "--scopes=cloud-platform"),
            f"--metadata-from-file=startup-script={SCRIPT}",
            f"--metadata={','.join(f'{key}={value}' for key, value in about.items())}",
        )
    except GcloudError as error:
        if TAKEN.search(str(error)):
            raise NoneFreeError(str(error).splitlines()[-1]) from error
        raise


def find(at: Place, name: str) -> str:
    """Return the zone of a VM, or ""."""
    command = ("compute", "instances", "list", f"--filter=name={name}", f"--project={at.project}")
    listed = ask(*command) or []
    return listed[0]["zone"].rpartition("/")[2] if listed else ""


def log(at: Place, name: str, zone: str) -> Iterator[str]:
    """Yield what the VM's script prints, until the VM is gone."""
    start, rest = 0, ""
    while True:
        try:
            output = ask(
                *("compute", "instances", "get-serial-port-output", name, f"--start={start}"),
                *(f"--zone={zone}", f"--project={at.project}"),
            )
        except GcloudError:
            output = None  # as it is being deleted, Google has several words for it
        if not output:
            if not find(at, name):
                return
        else:
            start = int(output.get("next", start))
            # A look may end within a line.
            *lines, rest = (rest + output.get("contents", "")).split("\n")
            for line in lines:
                if found := re.search(r"startup-script: (.*)", line):
                    yield found[1].rstrip()
        time.sleep(SECONDS)


def ended(at: Place, name: str) -> int | None:
    """Return the status with which a run ended, or None if it has not."""
    try:
        return int(gcloud("storage", "cat", f"gs://{at.bucket}/runs/{name}/status"))
    except GcloudError as error:
        if "matched no objects" in str(error):
            return None
        raise


def first_free(at: Place, name: str, image: str, hours: float, wanted: list[str]) -> str:
    """Create the VM in the first zone that has a T4 free, and return the zone.

    Raises:
        InputError: none has.

    """
    tried, hint = [], ""
    for zone in zones(at, wanted):
        try:
            create(at, name, zone, image, hours)
        except NoneFreeError as error:
            print(f"{zone}: none free ({error})", flush=True)
            tried.append(zone)
            if "quota" in str(error).lower():
                hint = f"; for more of a quota, ask at {QUOTAS}"
        else:
            return zone
    raise InputError(
        f"no T4 is free in {', '.join(tried)}: try again later, in others with --zones, "
        f"or --on vertex, which waits for one{hint}"
    )


def train(at: Place, name: str, image: str, hours: float, wanted: list[str]) -> None:
    """Train on a VM, as many of them as it takes.

    Raises:
        InputError: the training fails, or no zone has a T4.

    """
    deadline, zone = time.monotonic() + hours * 3600, ""
    while (status := ended(at, name)) is None:
        if zone:
            print(f"{zone} took {name} away; the next one goes on from its checkpoint", flush=True)
        if time.monotonic() > deadline:
            raise InputError(f"not done after {hours:g} hours; with the same command it goes on")
        left = (deadline - time.monotonic()) / 3600
        zone = find(at, name) or first_free(at, name, image, left, wanted)
        print(f"{name} runs in {zone}", flush=True)
        for line in log(at, name, zone):
            print(line, flush=True)
    if status:
        gcloud("storage", "rm", f"gs://{at.bucket}/runs/{name}/status")
        raise InputError(
            f"the training ended with status {status}: see the log above; once it is mended, the "
            "same command tries again"
        )
