"""Which files a run reads, and how it knows them again."""

import os
from pathlib import Path

import fsspec
import pytest

from common.errors import InputError
from common.storage import Folder
from score.run import WRITTEN
from score.sources import fingerprint, sources


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
        files = sources([f"{tmp_path}/{pattern}"], "**/*", Folder(output), WRITTEN)
        assert {Path(file) for file in files if "link" not in file} == {tmp_path / "a.csv"}


def test_an_output_that_holds_inputs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in/answers").mkdir(parents=True)
    for name in ("in/a.csv", "in/answers/b.csv"):
        (tmp_path / name).touch()
    for output in (tmp_path, tmp_path / "in", tmp_path / "in/../in"):
        with pytest.raises(InputError, match=f"{tmp_path}/in/a.csv is inside the output folder"):
            sources([f"{tmp_path}/in"], "*", Folder(str(output)), ())
    with pytest.raises(InputError, match=r"b\.csv is inside the output folder"):
        sources([f"{tmp_path}/in/answers"], "*", Folder(f"{tmp_path}/in"), ())
    with pytest.raises(InputError, match=f"{tmp_path}/in: all inputs are inside"):
        sources([f"{tmp_path}/in/answers"], "*", Folder(f"{tmp_path}/in"), WRITTEN)


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_a_fingerprint_follows_from_name_and_content(tmp_path: Path, prefix: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text\nflood\n")
    first = fingerprint(f"{prefix}{path}")
    os.utime(path, ns=(0, 0))
    assert fingerprint(f"{prefix}{path}") == first
    path.write_text("text\nFlood\n")
    changed = fingerprint(f"{prefix}{path}")
    path.write_text("text\nflood\n\n")
    (tmp_path / "b.csv").write_text("text\nflood\n")
    others = {fingerprint(f"{prefix}{path}"), fingerprint(f"{prefix}{tmp_path}/b.csv")}
    assert len({first, changed, *others}) == 4


def test_a_store_without_checksums_tells_a_change(tmp_path: Path) -> None:
    with fsspec.open("memory://bucket/a.csv", "w") as file:
        file.write("text")
    first = fingerprint("memory://bucket/a.csv")
    assert fingerprint("memory://bucket/a.csv") == first
    with fsspec.open("memory://bucket/a.csv", "w") as file:
        file.write("texts")
    assert fingerprint("memory://bucket/a.csv") != first
