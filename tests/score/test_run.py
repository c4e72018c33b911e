"""Killed, stopped, repeated, crowded: the answers are those of an undisturbed run."""

import os
import re
from pathlib import Path

import pytest

from common.errors import InputError
from common.storage import Folder
from reader.format import Format
from score import run
from score.blocks import Settings
from tests.conftest import HANG, no_file_beyond
from tests.gcs import Cloud
from tests.score.conftest import Score, answers, blocks, refused, start
from tests.serve.running import wait_until

SETTINGS = Settings("v1", "onnxruntime", None, Format())


def test_each_row_is_answered_once_or_refused(score: Score, archive: Path, tmp_path: Path) -> None:
    out, files = tmp_path / "out", sorted(archive.iterdir())
    for file in files[:3]:
        file.write_text("id,text\n1,flood\nbroken\n2, \n")
    result = score(archive, out, status=3)
    assert re.fullmatch(r"rows 369 = answered 363 \(.*\) \+ refused 6\n", result.stdout)
    assert f"refused: {files[0]}: row 2: " in result.stderr
    ids = [f"{n}-{i}" for n in range(3, 12) for i in range(40)]
    assert sorted(str(row["id"]) for row in answers(out)) == sorted(["1", "1", "1", *ids])
    rows = refused(out)
    expected = [(str(file), row) for file in files[:3] for row in (2, 3)]
    assert [(row["file"], row["row"]) for row in rows] == expected
    assert rows[1]["reason"] == "the text is blank"
    times = {path: path.stat().st_mtime_ns for path in (out / "answers").iterdir()}
    next((out / "blocks").iterdir()).unlink()  # its block is written again
    for file in files:  # as a copy without the original's times
        os.utime(file, ns=(0, 0))
    assert score(archive, out, status=3).stdout == result.stdout
    assert refused(out) == rows
    assert sum(path.stat().st_mtime_ns != time for path, time in times.items()) == 1
    files[7].write_text(files[7].read_text().replace("7-0", "7-x"))  # as many bytes
    errors = score(archive, out, "--keep", "id", status=1).stderr
    assert f"other settings: keep, inputs ({files[7]}). Choose" in errors


def test_buckets_hold_inputs_model_and_answers(
    score: Score, archive: Path, model: Path, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", cloud.url)
    bucket = cloud.client().create_bucket("archive")
    for path in [*model.iterdir(), archive / "00.csv"]:
        bucket.blob(f"in/{path.name}").upload_from_filename(path)
    call = ("gs://archive/in/*.csv", "gs://archive/out", "--model=gs://archive/in")
    first = score(*call).stdout
    assert first.startswith("rows 40 = answered 40")
    bucket.blob("in/00.csv").upload_from_filename(archive / "00.csv")  # the same bytes, but later
    assert score(*call).stdout == first
    assert Folder("gs://archive/out").names() == {"answers", "blocks", "refused.jsonl", "run.json"}


def test_a_full_disk_a_kill_and_two_at_once_lose_and_double_nothing(
    score: Score, model: Path, archive: Path, tmp_path: Path
) -> None:
    many = "".join(f"{i},w{i * 7919}\n" for i in range(3000))
    for number in range(6, 12):  # so many that no process is done before the other one begins
        (archive / f"{number:02}.csv").write_text(f"id,text\n{many}")
    printed, out = score(archive, tmp_path / "whole").stdout, tmp_path / "out"
    with no_file_beyond(15_000):
        errors = score(archive, out, status=1).stderr
    assert re.search(r"error: .*/answers/.*: File too large. Finished blocks", errors)
    assert not list(out.rglob(".*"))
    finished = blocks(out)
    assert 0 < finished < 12
    killed = start(model, archive, out)
    assert wait_until(lambda: killed.poll() is not None or blocks(out) > finished)
    killed.kill()
    killed.communicate(timeout=HANG)
    assert score(archive, out).stdout.endswith(printed)
    for process in [start(model, archive, tmp_path / "both") for _ in range(2)]:
        _, errors = process.communicate(timeout=HANG)
        assert process.returncode == 0, errors
    assert answers(out) == answers(tmp_path / "both") == answers(tmp_path / "whole")
    assert not list(tmp_path.rglob(".*"))


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "\udcff", '{"inputs": []}'])
@pytest.mark.parametrize("name", ["run.json", "blocks/a-1.json"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / "blocks").mkdir()
    (tmp_path / name).write_text(content, errors="surrogateescape")
    output = Folder(str(tmp_path))
    with pytest.raises(InputError, match=rf"^{tmp_path}/{name} is damaged. (Choose|Remove)"):
        run.begin([], SETTINGS, output) if name == "run.json" else run.summarise({"": "a"}, output)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nowhere.csv {out}", "nowhere.csv: no such file"),
        ("{archive} {out} --text tweet", "lacks the column tweet; .* --text"),
        ("{archive} {out} --keep user", "lacks the column user; .* set --keep"),
        ("{archive} {out} --runner DirectRunner", r"apache_beam is missing.*'\.\[beam\]'"),
        ("{archive} {out} --model prod", "prod.*docs/promote"),
    ],
)
def test_a_wrong_call_is_explained(
    score: Score, archive: Path, tmp_path: Path, line: str, message: str
) -> None:
    arguments = line.format(archive=archive, out=tmp_path / "out").split()
    errors = score(*arguments, status=1).stderr
    assert re.search(f"^error: .*{message}", errors, re.M), errors
    assert not (tmp_path / "out/answers").exists()
