"""Files, folders, globs and URLs."""

from pathlib import Path

import fsspec
import pytest

from reader.files import find, local
from reader.io import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.csv", "a.csv", "c.tsv", ".gitignore", "a.csv.dvc", "_SUCCESS", "deep/d.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("text\n")
    return tmp_path


def test_a_folder_gives_its_tables_in_order(folder: Path) -> None:
    assert find(str(folder)) == [str(folder / name) for name in ("a.csv", "b.csv", "c.tsv")]
    assert find(str(folder), "**/*.csv") == [
        str(folder / name) for name in ("a.csv", "b.csv", "deep/d.csv")
    ]


def test_a_glob_and_several_sources(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert find("*.csv") == ["a.csv", "b.csv"]
    assert find(str(folder / "*.csv")) == [str(folder / "a.csv"), str(folder / "b.csv")]
    assert find(["c.tsv", "*.csv"]) == ["c.tsv", "a.csv", "b.csv"]


def test_a_name_that_looks_like_a_glob_is_a_file(folder: Path) -> None:
    (folder / "tweets[1].csv").write_text("text\n")
    assert find(str(folder / "tweets[1].csv")) == [str(folder / "tweets[1].csv")]


def test_urls(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with fsspec.open(f"memory://many/{name}.csv", "w") as file:
            file.write("text\n")
    both = ["memory:///many/a.csv", "memory:///many/b.csv"]
    assert find("memory://many") == both
    assert find("memory://many/*.csv") == both
    with local(both[1]) as path:
        assert path.read_text() == "text\n"
    assert not path.exists()


@pytest.mark.parametrize("source", ["nowhere.csv", "no*.csv", "memory://nowhere/x.csv"])
def test_what_is_not_there_is_named(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no such file"), local(find(source)[0]):
        pass


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the folder has no file \*\.csv"):
        find(str(tmp_path), "*.csv")
