"""What all tests share is a function of its inputs."""

import subprocess
import sys
from pathlib import Path

import pandas as pd

from common.hashing import sha256_of
from tests.conftest import ROOT
from tests.stages.architectures import byte_pairs, pieces

MAKE = """
import sys
from pathlib import Path
import pandas as pd
from tests.conftest import make_base_model
from tests.stages.architectures import byte_pairs, pieces
folder, source = map(Path, sys.argv[1:])
make_base_model(folder, source)
for learn in (byte_pairs, pieces):
    (folder / learn.__name__).write_text(learn([*pd.read_csv(source)["text"]]).to_str())
"""


def test_another_process_makes_the_same_models(
    tmp_path: Path, source: Path, base_model: Path
) -> None:
    command = [sys.executable, "-c", MAKE, str(tmp_path), str(source)]
    subprocess.run(command, cwd=ROOT, env={"PYTHONHASHSEED": "1"}, check=True)
    texts = [*pd.read_csv(source)["text"]]
    for path in base_model.iterdir():
        assert sha256_of(tmp_path / path.name) == sha256_of(path)
    for learn in (byte_pairs, pieces):
        assert (tmp_path / learn.__name__).read_text() == learn(texts).to_str()
