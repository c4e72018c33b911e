"""Which files a run reads, and how it knows them again."""

import os
from pathlib import Path

import fsspec
import pytest

from common.errors import InputError
from common.storage import Folder
from score.run import WRITTEN
from score.sources import find_sources, fingerprint


@pytest.mark.parametrize("pattern", ["", "**/*"])
def test_answers_among_the_inputs_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    monkeypatch.chdir(tmp_path)  # one of the two is a relative path
    for name in ("a.csv", "out/run.json", "out/blocks/a.json", "out/answers/a.parquet"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to(tmp_path)
    for output in ("out", f"{tmp_path}/link/out", f"file://{tmp_path}/out/"):
        files = find_sources([f"{tmp_path}/{pattern}"], "**/*", Folder(output), WRITTEN)
        assert {Path(file) for file in files if "link" not in file} == {tmp_path / "a.csv"}


def test_an_output_that_holds_inputs_is_refused(tmp_path: Path) -> None:
    (inputs := tmp_path / "in/answers").mkdir(parents=True)
    for file in (tmp_path / "in/a.csv", inputs / "b.csv"):
        file.touch()
    for folder, output, written, message in (
        *((inputs.parent, o, (), "a.csv is inside") for o in (tmp_path, f"{inputs}/..")),
        (inputs, inputs.parent, (), "b.csv is inside"),
        (inputs, inputs.parent, WRITTEN, f"{tmp_path}/in: all inputs are in the output folder"),
    ):
        with pytest.raises(InputError, match=message):
            find_sources([str(folder)], "*", Folder(str(output)), written)


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
