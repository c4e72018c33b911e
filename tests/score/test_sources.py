"""Which files a run reads, and how it knows them again."""

import os
from pathlib import Path

import fsspec
import pytest

from common.errors import InputError
from common.storage import Folder
from score.sources import find_sources, fingerprint


def test_inputs_in_the_output_folder_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = tmp_path / "in"
    for name in ("a.csv", "out/run.json", "out/answers/a.parquet"):
        (inputs / name).parent.mkdir(parents=True, exist_ok=True)
        (inputs / name).touch()
    (tmp_path / "link").symlink_to(inputs)
    monkeypatch.chdir(inputs)  # one of the two is a relative path
    for output in ("out", f"{tmp_path}/link/out", f"file://{inputs}/out/"):
        assert find_sources([str(inputs)], Folder(output)) == [f"{inputs}/a.csv"]
        for source in (f"{inputs}/out", f"{inputs}/o*/answers/*"):
            with pytest.raises(InputError, match=r"is inside the output folder\. Choose"):
                find_sources([source], Folder(output))


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_a_fingerprint_follows_from_name_and_content(tmp_path: Path, prefix: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text\nflood\n")
    first = fingerprint(f"{prefix}{path}")
    os.utime(path, ns=(0, 0))
    assert fingerprint(f"{prefix}{path}") == first
    (tmp_path / "b.csv").write_text("text\nflood\n")
    prints = {first, fingerprint(f"{prefix}{tmp_path}/b.csv")}
    for content in ("text\nFlood\n", "text\nflood\n\n"):
        path.write_text(content)
        prints.add(fingerprint(f"{prefix}{path}"))
    assert len(prints) == 4


def test_a_store_without_checksums_tells_a_change() -> None:
    prints = []
    for text in ("text", "texts"):
        with fsspec.open("memory://bucket/a.csv", "w") as file:
            file.write(text)
        prints += [fingerprint("memory://bucket/a.csv") for _ in range(2)]
    assert prints[0] == prints[1] != prints[2] == prints[3]
