"""Run the tests of Apache Beam: `python -m tests.score.beam_environment [FOLDER]`.

Beam needs older packages than the rest. Their environment is made in FOLDER, or in a temporary one.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conftest import ROOT

INSTALL = "pip install --quiet --constraint score/constraints.txt -r pyproject.toml --extra beam"


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(sys.argv[1] if len(sys.argv) > 1 else temporary).absolute() / "beam"
        uv = [sys.executable, "-m", "uv"]
        venv = ["venv", "--quiet", "--clear", "--python", "3.11", str(folder)]
        subprocess.run([*uv, *venv], cwd=ROOT, check=True)
        subprocess.run([*uv, *INSTALL.split(), "--python", str(folder)], cwd=ROOT, check=True)
        tests = [sys.executable, "-m", "pytest", "tests/score/test_beam.py"]
        environment = os.environ | {"BEAM_PYTHON": str(folder / "bin/python")}
        sys.exit(subprocess.run(tests, cwd=ROOT, env=environment, check=False).returncode)


if __name__ == "__main__":
    main()
