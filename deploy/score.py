"""Classifies the tweets of files in a bucket on Dataflow, with this commit's image.

uv installs Apache Beam for this command only, because Beam needs older packages than the rest.
"""

import hashlib
import shlex
import subprocess
import sys

from deploy.google import NAME, GoogleProject
from deploy.release.images import get_commit, get_image

UV = "tool run --python 3.11 --constraints score/constraints.txt --with-editable .[beam] python"
PYTHON = [sys.executable, "-m", "uv", *UV.split()]


def make_options(project: GoogleProject, image: str, target: str, workers: int) -> list[str]:
    """Return the job's options for Beam."""
    # A name for each target: Dataflow refuses a second job of one name while the first runs.
    name = hashlib.blake2b(target.rstrip("/").encode(), digest_size=6).hexdigest()
    return [
        "DataflowRunner",
        f"--project={project.id}",
        f"--region={project.region}",
        f"--job_name={NAME}-score-{name}",
        f"--temp_location=gs://{project.bucket}/dataflow",
        f"--service_account_email={project.account('score')}",
        f"--sdk_container_image={image}",
        "--sdk_location=container",
        # Engines answer a little differently on each kind of CPU, so all workers have the same.
        "--machine_type=n2-standard-4",
        "--min_cpu_platform=Intel Ice Lake",
        "--number_of_worker_harness_threads=1",
        f"--max_num_workers={workers}",
        f"--labels=app={NAME}",
    ]


def score(
    project: GoogleProject, source: str, target: str, others: list[str], workers: int, dry_run: bool
) -> int:
    """Run the job with other options of `python -m score`; return the exit status of that."""
    image = "IMAGE" if dry_run else get_image(project, "score", get_commit())
    command = [*PYTHON, "-m", "score", source, target, *others]
    command += ["--engine=openvino", "--runner"]  # the faster engine on these CPUs
    command += make_options(project, image, target, workers)
    if dry_run:
        print(shlex.join(command))
        return 0
    return subprocess.run(command, check=False).returncode  # noqa: S603 - no shell
