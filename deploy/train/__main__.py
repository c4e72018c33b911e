"""Train this commit on a T4 in Google Cloud, follow it, and bring back what belongs into git.

    python -m deploy.train [--on vm|vertex] [--hours N] [--zones ZONE ...]

A VM is a spot one that deletes itself at the end, or after --hours at the latest. Ctrl-C ends the
following, not the training; the same command follows it again, and brings back what has ended well
meanwhile.
"""

import argparse
import tarfile
import tempfile
from pathlib import Path

from common.errors import run
from deploy.google import NAME, Place, gcloud, place
from deploy.release.images import built, commit
from deploy.train import vertex, vm


def bring_back(at: Place, name: str) -> None:
    """Unpack a run's results over this clone."""
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "results.tar.gz"
        gcloud("storage", "cp", f"gs://{at.bucket}/runs/{name}/results.tar.gz", str(archive))
        with tarfile.open(archive) as tar:
            tar.extractall(filter="data")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m deploy.train", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--on", choices=["vm", "vertex"], default="vm")
    parser.add_argument("--hours", type=float, default=4, help="after which it is ended (4)")
    parser.add_argument("--zones", nargs="+", default=[], help="to look for a T4 in, in this order")
    chosen = parser.parse_args()
    at, tag = place(), commit()
    name = f"{NAME}-train-{tag}"
    image = built(at, "train", tag)
    try:
        if chosen.on == "vm":
            vm.train(at, name, image, chosen.hours, chosen.zones)
        else:
            vertex.train(at, name, image, chosen.hours)
    except KeyboardInterrupt:
        print(f"\n{name} goes on; the same command follows it again")
        raise
    bring_back(at, name)
    print("dvc.lock and the figures are here now:\n    dvc pull\n    git commit --all")


if __name__ == "__main__":
    run(main)
