"""All that Google Cloud runs or reads; `python -m deploy --help` lists the commands.

setup: the resources and roles (resources.yaml, roles.yaml); release: images, and the server on
Cloud Run or Vertex AI; train: on a VM or Vertex AI; score.py: Dataflow; watch.py: the daily report;
check: the bucket. google.py holds the names and the region, and calls gcloud.
"""

import sys
from pathlib import Path


def _refuse_a_module_without_a_command() -> None:
    """End `python -m deploy.release.images` and its kind, which would do nothing and succeed."""
    if sys.argv[:1] != ["-m"]:  # Python's own word while it looks for the module to start
        return
    module = sys.orig_argv[sys.orig_argv.index("-m") + 1]
    path = Path(__file__).parent.joinpath(*module.split(".")[1:]).with_suffix(".py")
    if module.startswith("deploy.") and path.is_file() and "__main__" not in path.read_text():
        sys.stderr.write(f"error: {module} is no command; python -m deploy --help lists them\n")
        sys.exit(2)


_refuse_a_module_without_a_command()
