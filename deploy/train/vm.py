"""A training on a spot VM with a T4, or on one VM after another.

If a zone has no free T4, the next zone is tried. If Google pre-empts a VM, another VM goes on from
the checkpoints in the bucket.
"""

import re
import time
from contextlib import suppress

from common.errors import InputError
from deploy.google import NAME, GcloudError, GoogleProject, gcloud, gcloud_json

SCRIPT = "deploy/train/vm.sh"
GPU = "nvidia-tesla-t4"
# Ubuntu with driver 580, which torch's CUDA 13 needs, docker and gcsfuse. To list the images:
# gcloud compute images list --project=deeplearning-platform-release --no-standard-images
IMAGE = (
    "--image-family=common-cu129-ubuntu-2204-nvidia-580",
    "--image-project=deeplearning-platform-release",
)
EXHAUSTED = re.compile(r"RESOURCE_POOL_EXHAUSTED|does not have enough resources|[Qq]uota|QUOTA")
SECONDS = 15  # until a VM whose output ended is looked for


def train(project: GoogleProject, name: str, image: str, hours: float, zones: list[str]) -> None:
    """Train on a VM, and after a pre-emption on another one."""
    deadline, zone = time.monotonic() + hours * 3600, ""
    file = f"gs://{project.bucket}/runs/{name}/status"  # the VM writes it at the end
    while (status := gcloud_json("storage", "cat", file)) is None:
        if zone:
            print(f"{name} was pre-empted; the next VM resumes from the checkpoint", flush=True)
        remaining = (deadline - time.monotonic()) / 3600
        if remaining < 0:
            raise InputError(f"not finished after {hours:g} hours; the same command goes on")
        zone = zone_of(project, name) or create_somewhere(project, name, image, remaining, zones)
        print(f"{name} runs in {zone}; Ctrl-C does not end it", flush=True)
        tail = ("tail-serial-port-output", name, f"--zone={zone}", f"--project={project.id}")
        while zone_of(project, name):
            with suppress(GcloudError):  # when the VM is deleted
                gcloud("compute", "instances", *tail, attached=True)
            time.sleep(SECONDS)
    if status:
        gcloud("storage", "rm", file)
        raise InputError(f"the training ended with status {status}: see the log above")


def zone_of(project: GoogleProject, name: str) -> str:
    """Return the zone of a VM, or "" if it does not exist."""
    command = ("compute", "instances", "list", f"--filter=name={name}", f"--project={project.id}")
    return gcloud(*command, "--format=value(zone.basename())").strip()


def create_somewhere(
    project: GoogleProject, name: str, image: str, hours: float, zones: list[str]
) -> str:
    """Create the VM in the first zone of this continent with a free T4, and return the zone."""
    if not zones:
        near = f"--filter=name={GPU} AND zone~/{project.region.partition('-')[0]}-"
        command = ("compute", "accelerator-types", "list", near, f"--project={project.id}")
        zones = gcloud(*command, "--format=value(zone.basename())").split()
        zones.sort(key=lambda zone: (not zone.startswith(project.region), zone))
    for zone in zones:
        try:
            create(project, name, zone, image, hours)
        except GcloudError as error:
            if not EXHAUSTED.search(str(error)):
                raise
            print(f"{zone}: no T4 is free ({str(error).splitlines()[-1]})", flush=True)
        else:
            return zone
    raise InputError(
        f"no T4 is free near {project.region}: try again later, in other zones with --zones, or "
        "with --on vertex, which waits for one"
    )


def create(project: GoogleProject, name: str, zone: str, image: str, hours: float) -> None:
    """Create the VM, which deletes itself at the end of the training or after `hours`."""
    metadata = f"image={image},bucket={project.bucket},run={name}"
    gcloud(
        *("compute", "instances", "create", name, f"--zone={zone}", f"--project={project.id}"),
        *("--machine-type=n1-standard-4", f"--accelerator=type={GPU},count=1", *IMAGE),
        *("--provisioning-model=SPOT", "--instance-termination-action=DELETE"),
        *(f"--max-run-duration={int(hours * 3600)}s", "--maintenance-policy=TERMINATE"),
        *("--boot-disk-size=100GB", "--boot-disk-type=pd-balanced", f"--labels=app={NAME}"),
        *(f"--service-account={project.account('train')}", "--scopes=cloud-platform"),
        *(f"--metadata-from-file=startup-script={SCRIPT}", f"--metadata={metadata}"),
    )
