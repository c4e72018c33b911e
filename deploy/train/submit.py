"""Trains as a job of Vertex AI, which waits for a T4 and restarts after a pre-emption."""

import tempfile
from pathlib import Path
from string import Template

from common.errors import InputError
from deploy.google import GoogleProject, gcloud, gcloud_json

# A job in one of these states is followed; no second one is created.
FOLLOWED_STATES = tuple(
    f"JOB_STATE_{state}" for state in ("QUEUED", "PENDING", "RUNNING", "SUCCEEDED")
)


def train(project: GoogleProject, name: str, image: str, hours: float) -> None:
    """Start a training, or follow the one of that name; raise InputError if it fails."""
    text = Path("deploy/train/job.yaml").read_text(encoding="utf-8")
    text = Template(text).substitute(
        image=image,
        bucket=project.bucket,
        run=name,
        account=project.account("train"),
        hours_in_seconds=f"{int(hours * 3600)}s",
    )
    jobs = ("ai", "custom-jobs")
    same_name = gcloud_json(*jobs, "list", f"--filter=displayName={name}", *project.flags) or []
    job = next((each for each in same_name if each.get("state", "") in FOLLOWED_STATES), None)
    if not job:
        with tempfile.TemporaryDirectory() as folder:
            (config := Path(folder) / "job.yaml").write_text(text, encoding="utf-8")
            options = (f"--display-name={name}", f"--config={config}")
            job = gcloud_json(*jobs, "create", *options, *project.flags)
    print(f"{name} is {job['name']}; Ctrl-C does not end it", flush=True)
    gcloud(*jobs, "stream-logs", job["name"], *project.flags, is_attached=True)
    job = gcloud_json(*jobs, "describe", job["name"], *project.flags)
    if job["state"] != "JOB_STATE_SUCCEEDED":
        raise InputError(f"{job['state']}: see the log above")
