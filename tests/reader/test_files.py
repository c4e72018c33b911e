"""Files, folders, globs and URLs."""

import os
from pathlib import Path

import fsspec
import pytest

from common.errors import InputError
from reader.files import below, find, local

LEFTOVERS = (".gitignore", ".tool/a.csv", "a.csv.dvc", "_SUCCESS", "_metadata", "~$b.csv")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("b.csv", "a.csv", "deep/d.csv", "_log/e.csv", *LEFTOVERS):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text("text\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("scheme", ["", "memory://"])
def test_a_folder_gives_its_tables_in_order(folder: Path, scheme: str) -> None:
    source = str(folder)
    if scheme:
        source = "memory:///folder"
        fsspec.filesystem("memory").put(f"{folder}/", "/folder/", recursive=True)
    top = [f"{source}/a.csv", f"{source}/b.csv"]
    assert find(source) == find(f"{source}/*.csv") == top
    assert find(source, "**/*.csv") == [*top, f"{source}/deep/d.csv"]
    with pytest.raises(InputError, match=r"/\*.dvc: no such file \(files named .* are ignored"):
        find(source, "*.dvc")


def test_names_globs_links_and_several_sources(folder: Path) -> None:
    named = [str(folder / name) for name in LEFTOVERS]
    assert find(named) == named
    assert find("*.csv") == find("*") == ["a.csv", "b.csv"]
    assert find(["deep/d.csv", "*.csv"]) == ["deep/d.csv", "a.csv", "b.csv"]
    Path("tweets[1].csv").write_text("text\n")
    assert find("tweets[1].csv") == ["tweets[1].csv"]
    Path("of [1]").mkdir()
    Path("of [1]/link.csv").symlink_to(folder / "a.csv")  # as in DVC's cache
    assert find("of [1]") == ["of [1]/link.csv"]


@pytest.mark.parametrize("place", ["", "memory://below/"])
def test_names_below_a_source(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("one/a.csv", "two/a.csv"):
        url = f"{place or f'{tmp_path.as_uri()}/'}archive/{file}"
        with fsspec.open(url, "w", auto_mkdir=True) as to:
            to.write("text\n")
    names = {"archive/": "one/a.csv", "archive/one/a.csv": "a.csv", "archive/*/a.csv": "one/a.csv"}
    for source, name in names.items():
        file = find(place + source, "**/*.csv")[0]
        assert below(file, place + source) == name


def test_a_copy_of_a_url_is_removed_and_a_missing_file_is_named() -> None:
    with fsspec.open("memory://many/b.csv", "w") as file:
        file.write("text\n")
    with local("memory://many/b.csv") as path:
        assert path.read_text() == "text\n"
    assert not path.exists()
    for source in ("nowhere.csv", "nowhere*.csv", "memory://nowhere/x.csv"):
        with pytest.raises(InputError, match="no such file"), local(find(source)[0]):
            pass


@pytest.mark.parametrize("form", ["{folder}", "{folder}/*", "{file}"])
def test_a_name_that_is_not_utf8_is_shown(tmp_path: Path, form: str) -> None:
    file = tmp_path / os.fsdecode(b"caf\xe9.csv")
    try:
        file.write_text("text\n")
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    with pytest.raises(InputError, match=r"caf\\xe9.csv: the name is not UTF-8; rename it: mv"):
        find(form.format(folder=tmp_path, file=file))
