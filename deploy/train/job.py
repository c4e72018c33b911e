"""Runs the pipeline in the train image, with a bucket for its inputs and outputs.

    python -m deploy.train.job

With the variable BUCKET, the job pulls the outputs of earlier runs from there and pushes its own;
the files for git go to runs/RUN/results.tar.gz. Without it, the job just runs the pipeline.
The stage gets the job's SIGTERM, as before a pre-emption, and saves a checkpoint.
"""

import io
import os
import shlex
import signal
import subprocess
import sys
import tarfile
import time
from contextlib import suppress

from dvc.repo import Repo
from google.cloud import storage

from common.errors import run
from deploy.google import REMOTE_COMMANDS

EXTRAS = ("dvc.lock", "models/speed", "models/wandb")  # to download, but outputs of no stage


def call(command: list[str]) -> None:
    """Run a command and forward signals to it; exit with its status unless that is 0.

    Neither DVC nor a shell forwards signals, and a stage saves a checkpoint after DVC has ended.
    """
    print(f"job: {shlex.join(command)}", flush=True)
    process = subprocess.Popen(command, start_new_session=True)  # noqa: S603 - no shell
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: os.killpg(process.pid, number))
    status = process.wait()
    end = time.monotonic() + 25  # Google allows 30 seconds
    with suppress(ProcessLookupError):  # the group has no process left
        while time.monotonic() < end:
            with suppress(ChildProcessError):
                os.waitpid(-process.pid, os.WNOHANG)  # orphans become children of process 1
            os.killpg(process.pid, 0)
            time.sleep(0.1)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    if status:
        sys.exit(128 - status if status < 0 else status)


def upload(bucket: str, name: str) -> None:
    """Upload an archive with the files to download."""
    with Repo() as repo:
        outs = [str(out) for out in repo.index.outs if not out.use_cache]
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for path in filter(os.path.exists, sorted({*outs, *EXTRAS})):
            tar.add(path)
    blob = storage.Client().bucket(bucket).blob(f"runs/{name}/results.tar.gz")
    blob.upload_from_string(archive.getvalue())


def main() -> None:
    """Run the pipeline."""
    bucket = os.environ.get("BUCKET")
    commands = [*REMOTE_COMMANDS, "dvc repro --pull", "dvc push"] if bucket else ["dvc repro"]
    for command in commands:
        call(command.format(bucket=bucket).split())
    if bucket:
        upload(bucket, os.environ.get("RUN", "latest"))


if __name__ == "__main__":
    run(main)
