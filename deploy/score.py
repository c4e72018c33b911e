"""Classify the tweets of files in a bucket on Dataflow, with this commit's image.

    python -m deploy.score gs://BUCKET/FOLDER gs://BUCKET/ANSWERS [--workers N] [--dry-run] [...]

It waits for the job's end, and its exit status is that of `python -m score`, to which it passes
other options, such as --text. Ctrl-C stops this command, not the job. uv installs Apache Beam for
this command only, because Beam needs older packages than the rest.
"""

import argparse
import hashlib
import shlex
import subprocess
import sys

from common.errors import run
from deploy.google import NAME, GoogleProject, current_project
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


def main() -> None:
    """Start the job and wait for its end."""
    parser = argparse.ArgumentParser(prog="python -m deploy.score", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("source", help="a gs:// file, folder or glob")
    parser.add_argument("target", help="a gs:// prefix")
    parser.add_argument(
        "--workers", type=int, default=10, help="largest number of workers (default: 10)"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="only print the command; needs no login"
    )
    options, others = parser.parse_known_args()
    project = current_project()
    image = "IMAGE" if options.dry_run else get_image(project, "score", get_commit())
    command = [*PYTHON, "-m", "score", options.source, options.target, *others]
    command += ["--engine=openvino", "--runner"]  # the faster engine on these CPUs
    command += make_options(project, image, options.target, options.workers)
    if options.dry_run:
        print(shlex.join(command))
    else:
        sys.exit(subprocess.run(command, check=False).returncode)  # noqa: S603 - no shell


if __name__ == "__main__":
    run(main)
