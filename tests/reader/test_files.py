"""Files, folders, globs and URLs."""

from pathlib import Path

import fsspec
import pytest

from common.errors import InputError
from reader.files import below, find, local


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    hidden = (".gitignore", ".tool/a.csv", "a.csv.dvc", "_SUCCESS")
    for name in ("b.csv", "a.csv", "_c.tsv", "deep/d.csv", *hidden):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("text\n")
    return tmp_path


def test_a_folder_gives_its_tables_in_order(folder: Path) -> None:
    assert find(str(folder)) == [str(folder / name) for name in ("_c.tsv", "a.csv", "b.csv")]
    assert find(str(folder), "**/*.csv") == [
        str(folder / name) for name in ("a.csv", "b.csv", "deep/d.csv")
    ]
    with pytest.raises(InputError, match=r"no file \*.dvc \(dot-files, \*.dvc and _SUCCESS do not"):
        find(str(folder), "*.dvc")


@pytest.mark.parametrize("name", ["_c.tsv", ".gitignore", ".tool/a.csv", "a.csv.dvc"])
def test_a_file_that_is_named_is_taken(folder: Path, name: str) -> None:
    assert find(str(folder / name)) == [str(folder / name)]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("archive", "one/a.csv"),
        ("archive/", "one/a.csv"),
        ("archive/one/a.csv", "a.csv"),
        ("archive/*/a.csv", "one/a.csv"),
        ("archive/one/*", "a.csv"),
    ],
)
@pytest.mark.parametrize("place", ["", "memory://below/"])
def test_names_below_a_source(
    source: str, name: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("one/a.csv", "two/a.csv"):
        url = f"{place or f'{tmp_path.as_uri()}/'}archive/{file}"
        with fsspec.open(url, "w", auto_mkdir=True) as to:
            to.write("text\n")
    file = find(place + source, "**/*.csv")[0]
    assert below(file, place + source) == name


def test_a_glob_and_several_sources(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert find("*.csv") == ["a.csv", "b.csv"]
    assert find(str(folder / "*.csv")) == [str(folder / "a.csv"), str(folder / "b.csv")]
    assert find(["_c.tsv", "*.csv"]) == ["_c.tsv", "a.csv", "b.csv"]
    assert find("*") == ["_c.tsv", "a.csv", "b.csv"]


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
