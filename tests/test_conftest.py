"""What all tests share is a function of its inputs."""

import subprocess
import sys
from pathlib import Path

from common.hashing import sha256_of
from tests.conftest import ROOT

MAKE = "import sys; from pathlib import Path; from tests.conftest import make_base_model\n"
MAKE += "make_base_model(Path(sys.argv[1]), Path(sys.argv[2]))"


def test_two_processes_make_one_base_model(tmp_path: Path, source: Path) -> None:
    hashes = set()
    for seed in ("1", "2"):
        (folder := tmp_path / seed).mkdir()
        command = [sys.executable, "-c", MAKE, str(folder), str(source)]
        subprocess.run(command, cwd=ROOT, env={"PYTHONHASHSEED": seed}, check=True)
        hashes.add(tuple(sha256_of(path) for path in sorted(folder.iterdir())))
    assert len(hashes) == 1
