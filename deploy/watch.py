"""Runs the monitor each day, in the train image, on the seven days before today.

    python -m deploy.watch [OPTIONS OF python -m monitor]

The log, the model of the image's dvc.lock and the labelled samples (in reviewed/) come from the
bucket that the variable BUCKET names, and the report goes to reports/DAY/TIME/ there. The exit
status is the monitor's, but 0 for `look`, because that is no failure.
"""

import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from google.cloud import storage

from common.errors import run
from deploy.google import REMOTE_COMMANDS
from monitor.__main__ import parse, write_report
from monitor.verdict import STATUS

DAYS = 7


def make_options(bucket: storage.Bucket, today: datetime) -> list[str]:
    """Return the monitor's options: the log in the bucket, the days, and the labelled samples."""
    since, until = (f"{today - timedelta(days=days):%Y-%m-%d}" for days in (DAYS, 1))
    log = [f"gs://{bucket.name}/run.googleapis.com", f"--since={since}", f"--until={until}"]
    names = [f"gs://{bucket.name}/{blob.name}" for blob in bucket.list_blobs(prefix="reviewed/")]
    samples = [name for name in names if name.endswith(".csv")]
    return [*log, "--reviewed", *samples] if samples else log


def main() -> None:
    """Write the report to the bucket; exit with the monitor's status."""
    bucket, now = storage.Client().bucket(os.environ["BUCKET"]), datetime.now(UTC)
    for command in (*REMOTE_COMMANDS, "dvc pull models/classifier"):
        subprocess.run(command.format(bucket=bucket.name).split(), check=True)  # noqa: S603 - no shell
    with tempfile.TemporaryDirectory() as folder:
        arguments = parse([*make_options(bucket, now), *sys.argv[1:], f"--output={folder}"])
        status = write_report(arguments)
        for path in sorted(Path(folder).iterdir()):
            blob = bucket.blob(f"reports/{now:%Y-%m-%d/%H%M%S}/{path.name}")
            blob.upload_from_filename(path)
            print(f"gs://{bucket.name}/{blob.name}")
    sys.exit(0 if status == STATUS["look"] else status)


if __name__ == "__main__":
    run(main)
