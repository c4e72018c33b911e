"""Put this commit's server in use, step by step, or go back to the revision before.

python -m deploy.release [--on cloud-run|vertex] [--soak SECONDS] [--back]
"""

import argparse

from common.errors import run
from deploy.google import place
from deploy.release import cloud_run, vertex
from deploy.release.images import built, commit, locked_model


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m deploy.release", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--on", choices=["cloud-run", "vertex"], default="cloud-run")
    parser.add_argument(
        "--soak", type=float, default=60, help="seconds with a tenth of Cloud Run's traffic (60)"
    )
    parser.add_argument("--back", action="store_true", help="to Cloud Run's revision before")
    chosen = parser.parse_args()
    if chosen.back and chosen.on == "vertex":
        parser.error("--back goes with cloud-run")
    at = place()
    if chosen.back:
        cloud_run.back(at)
        return
    tag = commit()
    image, model = built(at, "serve", tag), locked_model()
    if chosen.on == "vertex":
        vertex.release(at, image, model)
    else:
        cloud_run.release(at, image, model, chosen.soak)
        cloud_run.report_on(at, tag)


if __name__ == "__main__":
    run(main)
