"""Runs the monitor each day, in the train image, on the seven days before today.

    python -m deploy.watch [OPTIONS OF python -m monitor]

The log, the model of the image's dvc.lock and the labelled samples (in reviewed/) come from the
bucket that the variable BUCKET names, and the report goes to reports/DAY/TIME/ there. The exit
status is the monitor's, but 0 for `look`, which is no failure.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from google.cloud import storage

from common.errors import InputError, run
from deploy.google import NAMING
from monitor.__main__ import parse, write_report
from monitor.labels import UnusedLabelsError
from monitor.verdict import STATUS

DAYS = 7
LOG = "run.googleapis.com"  # the folder that a sink of Cloud Logging writes to


def options(bucket: storage.Bucket, today: datetime) -> list[str]:
    """Return the monitor's options: the log, its days, and the samples that people labelled."""
    since, until = (f"{today - timedelta(days=days):%Y-%m-%d}" for days in (DAYS, 1))
    log = [f"gs://{bucket.name}/{LOG}", f"--since={since}", f"--until={until}"]
    samples = [blob.name for blob in bucket.list_blobs(prefix="reviewed/")]
    samples = [f"gs://{bucket.name}/{name}" for name in samples if name.endswith(".csv")]
    return [*log, "--reviewed", *samples] if samples else log


def write_without_old_samples(chosen: argparse.Namespace) -> int:
    """Write the report and return its status; a sample of earlier days is said and left out."""
    while True:
        try:
            return write_report(chosen)
        except UnusedLabelsError as error:
            print(f"left out: {error}")
            chosen.reviewed = [file for file in chosen.reviewed if file != error.file]


def main() -> None:
    """Make the report."""
    if not (name := os.environ.get("BUCKET")):
        raise InputError("no bucket is set: export BUCKET=NAME")
    for command in (*NAMING, "dvc pull models/classifier"):
        if status := subprocess.run(command.format(bucket=name).split(), check=False).returncode:  # noqa: S603 - no shell
            sys.exit(status)
    bucket, now = storage.Client().bucket(name), datetime.now(UTC)
    with tempfile.TemporaryDirectory() as folder:
        arguments = [*options(bucket, now), *sys.argv[1:], f"--output={folder}"]
        status = write_without_old_samples(parse(arguments))
        for path in sorted(Path(folder).iterdir()):
            blob = bucket.blob(f"reports/{now:%Y-%m-%d/%H%M%S}/{path.name}")
            blob.upload_from_filename(path)
            print(f"gs://{name}/{blob.name}")
    sys.exit(0 if status == STATUS["look"] else status)


if __name__ == "__main__":
    run(main)
