"""Killed, stopped, repeated, crowded: the answers are those of an undisturbed run."""

import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from common.errors import InputError
from common.storage import Folder
from reader.format import Format
from score.blocks import Settings
from score.run import begin, summarise
from tests.conftest import HANG, no_file_beyond
from tests.gcs import Cloud
from tests.score.conftest import Score, answers, blocks, refused, start
from tests.serve.running import wait_until

SETTINGS = Settings("v1", "onnxruntime", None, "parquet", Format())


def has_blocks(process: subprocess.Popen[str], out: Path, count: int) -> bool:
    return process.poll() is not None or blocks(out) >= count


def test_an_archive_is_answered_and_a_second_call_changes_nothing(
    score: Score, archive: Path, tmp_path: Path
) -> None:
    printed = score(archive, tmp_path / "out").stdout
    assert re.fullmatch(r"rows 480 = answered 480 \(.*\) \+ refused 0\n", printed)
    ids = [row["id"] for row in answers(tmp_path / "out")]
    assert sorted(map(str, ids)) == sorted(f"{n}-{i}" for n in range(12) for i in range(40))
    assert refused(tmp_path / "out") == []
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/answers").iterdir()}
    for file in archive.iterdir():  # as a copy without the original's times
        os.utime(file, ns=(0, 0))
    assert score(archive, tmp_path / "out").stdout == printed
    assert times == {path: path.stat().st_mtime_ns for path in times}


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


def test_refused_rows_are_a_status_and_a_file_in_order(
    score: Score, archive: Path, tmp_path: Path
) -> None:
    for number in (0, 1, 2):
        (archive / f"{number:02}.csv").write_text("id,text\n1,flood\nbroken\n2, \n")
    errors = score(archive, tmp_path / "out", status=3).stderr
    assert f"refused: {archive}/00.csv: row 2: " in errors
    rows = refused(tmp_path / "out")
    assert [(row["file"], row["row"]) for row in rows] == [
        (f"{archive}/{number:02}.csv", row) for number in (0, 1, 2) for row in (2, 3)
    ]
    assert rows[1]["reason"] == "the text is blank"
    for block in (tmp_path / "out/blocks").iterdir():
        if "00.csv" in block.read_text():
            block.unlink()
    score(archive, tmp_path / "out", status=3)
    assert refused(tmp_path / "out") == rows


@pytest.mark.skipif(sys.platform == "darwin", reason="file names there are always UTF-8")
def test_a_file_name_that_is_not_utf8(score: Score, tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.csv")).write_text("id,text\n1,flood\n")
    errors = score(tmp_path, tmp_path / "out", status=1).stderr
    assert re.search(r"^error: .*caf\\xe9.csv: the name is not UTF-8", errors, re.M)


@pytest.mark.parametrize("name", ["/dev/fd/{}", "/proc/self/fd/{}"])
def test_a_pipe_is_an_input(score: Score, archive: Path, tmp_path: Path, name: str) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe, os.fdopen(reading):
        pipe.write((archive / "00.csv").read_bytes())
        pipe.close()
        if not Path(name.format(reading)).exists():
            pytest.skip(f"this system has no {name}")
        result = score(name.format(reading), tmp_path / "out")
    assert result.stdout.startswith("rows 40 = answered 40")


def test_kills_lose_and_double_nothing(
    score: Score, model: Path, archive: Path, tmp_path: Path
) -> None:
    score(archive, tmp_path / "whole")
    out = tmp_path / "out"
    for more in (1, 4):
        process = start(model, archive, out)
        wait_until(partial(has_blocks, process, out, more))
        process.kill()
        process.communicate(timeout=HANG)
    assert "rows 480 = answered 480" in score(archive, out).stdout
    assert answers(out) == answers(tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_the_block(
    model: Path, archive: Path, tmp_path: Path, number: signal.Signals
) -> None:
    for file in archive.iterdir():  # so many rows that it cannot finish before the signal
        rows = "".join(f"{i},flood {file.stem} at gate {i}\n" for i in range(3000))
        file.write_text("id,text\n" + rows)
    process = start(model, archive, tmp_path / "out")
    wait_until(partial(has_blocks, process, tmp_path / "out", 1))
    process.send_signal(number)
    _, errors = process.communicate(timeout=HANG)
    assert process.returncode == 128 + number, errors
    assert "stopped; the same call continues" in errors
    assert 0 < blocks(tmp_path / "out") < 12
    assert len(answers(tmp_path / "out")) == 3000 * blocks(tmp_path / "out")


def test_two_at_once_write_the_same(model: Path, archive: Path, tmp_path: Path) -> None:
    both = [start(model, archive, tmp_path / "out") for _ in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=HANG)
        assert process.returncode == 0, errors
    assert len({row["id"] for row in answers(tmp_path / "out")}) == 480
    assert not list((tmp_path / "out").rglob(".*"))


def test_another_run_is_refused(score: Score, archive: Path, tmp_path: Path) -> None:
    score(archive, tmp_path / "out")
    changed = (archive / "07.csv").read_text().replace("7-0", "7-x")  # as many bytes
    (archive / "07.csv").write_text(changed)
    errors = score(archive, tmp_path / "out", "--keep", "id", "--format", "csv", status=1).stderr
    assert f"other settings: keep, format, inputs ({archive}/07.csv). Choose" in errors


RUNS = ["", "{", "[]", "\udcff", '{"name": "x"}', '{"inputs": []}']
SUMMARIES = ["", '{"file": "a.csv", "rows": 2', "{}", "[1]"]


@pytest.mark.parametrize(
    ("name", "content"),
    [*(("run.json", c) for c in RUNS), *(("blocks/a-1.json", c) for c in SUMMARIES)],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / "blocks").mkdir()
    (tmp_path / name).write_text(content, errors="surrogateescape")
    output = Folder(str(tmp_path))
    with pytest.raises(InputError, match=rf"^{tmp_path}/{name} is damaged. (Choose|Remove)"):
        begin([], SETTINGS, output) if name == "run.json" else summarise({"a.csv": "a"}, output)


def test_a_full_disk_keeps_finished_blocks(score: Score, archive: Path, tmp_path: Path) -> None:
    many = "".join(f"{i},w{i * 7919}\n" for i in range(3000))
    (archive / "06.csv").write_text(f"id,text\n{many}")
    with no_file_beyond(15_000):
        errors = score(archive, tmp_path / "out", status=1).stderr
    assert re.search(r"error: .*/answers/.*: File too large. Finished blocks", errors)
    assert not list((tmp_path / "out").rglob(".*"))
    score(archive, tmp_path / "out")
    assert len(answers(tmp_path / "out")) == 480 - 40 + 3000


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nowhere.csv {out}", "nowhere.csv: no such file"),
        ("{archive} {out} --text tweet", "lacks the column tweet; .* --text"),
        ("{archive} {out} --keep user", "lacks the column user; .* set --keep"),
        ("{archive} {out} --runner DirectRunner", r"apache_beam is missing.*'\.\[beam\]'"),
        ("{archive} {out} --model prod", "prod.*experiments.fetch NAME"),
    ],
)
def test_a_wrong_call_is_explained(
    score: Score, archive: Path, tmp_path: Path, line: str, message: str
) -> None:
    arguments = line.format(archive=archive, out=tmp_path / "out").split()
    errors = score(*arguments, status=1).stderr
    assert re.search(f"^error: .*{message}", errors, re.M), errors
    assert not (tmp_path / "out/answers").exists()
