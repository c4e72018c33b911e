"""A training on a spot VM with a T4, or on one VM after another.

If a zone has no free T4, the next zone is tried. If Google pre-empts a VM, another VM goes on from
the checkpoints in the bucket.
"""

import re
import time
from collections.abc import Iterator

from common.errors import InputError
from deploy.google import NAME, GcloudError, GoogleProject, gcloud, gcloud_json

SCRIPT = "deploy/train/vm.sh"
MACHINE = "n1-standard-4"
GPU = "nvidia-tesla-t4"
# Ubuntu with driver 580, which torch's CUDA 13 needs, docker and gcsfuse. To list the images:
# gcloud compute images list --project=deeplearning-platform-release --no-standard-images
IMAGE = (
    "--image-family=common-cu129-ubuntu-2204-nvidia-580",
    "--image-project=deeplearning-platform-release",
)
EXHAUSTED = re.compile(r"RESOURCE_POOL_EXHAUSTED|does not have enough resources|[Qq]uota|QUOTA")
QUOTAS = "https://console.cloud.google.com/iam-admin/quotas"
SECONDS = 15  # between two requests for a VM's output


class NoneFreeError(Exception):
    """A zone has no free T4."""


def zones(project: GoogleProject, wanted: list[str]) -> list[str]:
    """Return the zones to try: `wanted`, or the region's own, then the others of its continent."""
    if wanted:
        return wanted
    command = ("compute", "accelerator-types", "list", f"--filter=name={GPU}")
    listed = gcloud_json(*command, f"--project={project.id}") or []
    names = sorted(each["zone"].rpartition("/")[2] for each in listed)
    continent = project.region.partition("-")[0]
    near = [zone for zone in names if zone.partition("-")[0] == continent]
    if not near:
        raise InputError(f"no zone near {project.region} has an {GPU}: name some with --zones")
    return sorted(near, key=lambda zone: (not zone.startswith(project.region), zone))


def create(project: GoogleProject, name: str, zone: str, image: str, hours: float) -> None:
    """Create the VM, or raise NoneFreeError if the zone or the project's quota has no T4 left."""
    metadata = f"image={image},bucket={project.bucket},run={name}"
    try:
        gcloud(
            *("compute", "instances", "create", name, f"--zone={zone}", f"--project={project.id}"),
            *(f"--machine-type={MACHINE}", f"--accelerator=type={GPU},count=1", *IMAGE),
            *("--provisioning-model=SPOT", "--instance-termination-action=DELETE"),
            *(f"--max-run-duration={int(hours * 3600)}s", "--maintenance-policy=TERMINATE"),
            *("--boot-disk-size=100GB", "--boot-disk-type=pd-balanced", f"--labels=app={NAME}"),
            *(f"--service-account={project.account('train')}", "--scopes=cloud-platform"),
            *(f"--metadata-from-file=startup-script={SCRIPT}", f"--metadata={metadata}"),
        )
    except GcloudError as error:
        if EXHAUSTED.search(str(error)):
            raise NoneFreeError(str(error).splitlines()[-1]) from error
        raise


def zone_of(project: GoogleProject, name: str) -> str:
    """Return the zone of a VM, or "" if it does not exist."""
    command = ("compute", "instances", "list", f"--filter=name={name}", f"--project={project.id}")
    listed = gcloud_json(*command) or []
    return listed[0]["zone"].rpartition("/")[2] if listed else ""


def log(project: GoogleProject, name: str, zone: str) -> Iterator[str]:
    """Yield the lines that the VM's script prints, until the VM does not exist any more."""
    start, rest = 0, ""
    while True:
        command = ("compute", "instances", "get-serial-port-output", name, f"--start={start}")
        try:
            output = gcloud_json(*command, f"--zone={zone}", f"--project={project.id}")
        except GcloudError:  # while the VM is being deleted, with various messages
            output = None
        if output:
            start = int(output.get("next", start))
            # The output may end within a line.
            *lines, rest = (rest + output.get("contents", "")).split("\n")
            for line in lines:
                if match := re.search(r"startup-script: (.*)", line):
                    yield match[1].rstrip()
        elif not zone_of(project, name):
            return
        time.sleep(SECONDS)


def exit_status(project: GoogleProject, name: str) -> int | None:
    """Return the status with which a run ended, or None while it has not ended."""
    try:
        return int(gcloud("storage", "cat", f"gs://{project.bucket}/runs/{name}/status"))
    except GcloudError as error:
        if "matched no objects" in str(error):
            return None
        raise


def create_somewhere(
    project: GoogleProject, name: str, image: str, hours: float, wanted: list[str]
) -> str:
    """Create the VM in the first zone with a free T4, and return the zone."""
    tried, hint = [], ""
    for zone in zones(project, wanted):
        try:
            create(project, name, zone, image, hours)
        except NoneFreeError as error:
            print(f"{zone}: no T4 is free ({error})", flush=True)
            tried.append(zone)
            if "quota" in str(error).lower():
                hint = f"; ask for more quota at {QUOTAS}"
        else:
            return zone
    raise InputError(
        f"no T4 is free in {', '.join(tried)}: try again later, in other zones with --zones, "
        f"or with --on vertex, which waits for one{hint}"
    )


def train(project: GoogleProject, name: str, image: str, hours: float, wanted: list[str]) -> None:
    """Train on a VM, or on as many VMs as it takes."""
    deadline, zone = time.monotonic() + hours * 3600, ""
    while (status := exit_status(project, name)) is None:
        if zone:
            print(f"{zone} took {name} away; the next VM goes on from the checkpoint", flush=True)
        left = (deadline - time.monotonic()) / 3600
        if left < 0:
            raise InputError(f"not done after {hours:g} hours; the same command goes on")
        zone = zone_of(project, name) or create_somewhere(project, name, image, left, wanted)
        print(f"{name} runs in {zone}", flush=True)
        for line in log(project, name, zone):
            print(line, flush=True)
    if status:
        gcloud("storage", "rm", f"gs://{project.bucket}/runs/{name}/status")
        raise InputError(
            f"the training ended with status {status}: see the log above; after a correction, the "
            "same command tries again"
        )
