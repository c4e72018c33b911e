"""A training as a job of Vertex AI, which waits for a T4 and restarts what was taken away."""

import tempfile
from pathlib import Path
from string import Template

from common.errors import InputError
from deploy.google import Place, ask, shown, watch

JOB = Path("deploy/train/vertex-job.yaml")
# States of a job that is to be followed, or was while nobody followed it.
GOOD = tuple(f"JOB_STATE_{state}" for state in ("QUEUED", "PENDING", "RUNNING", "SUCCEEDED"))


def train(at: Place, name: str, image: str, hours: float) -> None:
    """Train, or follow the training that is there.

    Raises:
        InputError: the training fails.

    """
    text = Template(JOB.read_text(encoding="utf-8")).substitute(
        image=image,
        bucket=at.bucket,
        run=name,
        account=at.account("train"),
        hours_in_seconds=f"{int(hours * 3600)}s",
    )
    where = (f"--region={at.region}", f"--project={at.project}")
    listed = ask("ai", "custom-jobs", "list", f"--filter=displayName={name}", *where) or []
    good = [each for each in listed if each.get("state", "") in GOOD]
    if good:
        job = good[0]
    else:
        with tempfile.TemporaryDirectory() as folder:
            (config := Path(folder) / "job.yaml").write_text(text, encoding="utf-8")
            described = (f"--display-name={name}", f"--config={config}")
            job = ask("ai", "custom-jobs", "create", *described, *where)
    print(f"{job['name']}: to end it, {shown(('ai', 'custom-jobs', 'cancel', job['name']))}")
    watch("ai", "custom-jobs", "stream-logs", job["name"], *where)
    job = ask("ai", "custom-jobs", "describe", job["name"], *where)
    if job["state"] != "JOB_STATE_SUCCEEDED":
        raise InputError(
            f"{job['state']}: {job.get('error', {}).get('message', 'see the log above')}"
        )
