"""Killed, stopped, repeated, crowded: the answers are those of an undisturbed run."""

import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from common.errors import InputError
from reader.format import Format
from score.blocks import Settings
from score.run import begin, record
from score.sink import sink
from tests.conftest import HANG, ROOT, no_file_beyond
from tests.score.conftest import answers, command, refused, run
from tests.serve.running import wait_until

KILLS = int(os.environ.get("KILLS", "2"))


def blocks(out: Path) -> int:
    return len(list((out / "blocks").glob("*.json")))


def test_an_archive_is_answered_and_a_second_call_changes_nothing(
    model: Path, archive: Path, tmp_path: Path
) -> None:
    done = run(model, archive, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"rows 480 = answered 480 \(.*\) \+ refused 0\n", done.stdout)
    ids = [row["id"] for row in answers(tmp_path / "out")]
    assert sorted(map(str, ids)) == sorted(f"{n}-{i}" for n in range(12) for i in range(40))
    assert refused(tmp_path / "out") == []
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/answers").iterdir()}
    assert run(model, archive, tmp_path / "out").stdout == done.stdout
    assert times == {path: path.stat().st_mtime_ns for path in times}


def test_refused_rows_have_a_status_and_a_file(model: Path, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,text\n1,flood\n2, \n")
    done = run(model, tmp_path / "in.csv", tmp_path / "out", "--format", "jsonl")
    assert done.returncode == 3
    assert "in.csv: row 2: the text is blank" in done.stderr
    assert refused(tmp_path / "out") == [
        {"file": str(tmp_path / "in.csv"), "row": 2, "reason": "the text is blank"}
    ]
    assert [row["id"] for row in answers(tmp_path / "out")] == ["1"]


def test_refused_rows_keep_their_order_whatever_was_done_before(
    model: Path, archive: Path, tmp_path: Path
) -> None:
    for number in (0, 1, 2):
        (archive / f"{number:02}.csv").write_text("id,text\n1,flood\nbroken\n")
    run(model, archive, tmp_path / "out")
    before = refused(tmp_path / "out")
    assert [row["file"] for row in before] == [f"{archive}/{n:02}.csv" for n in (0, 1, 2)]
    for done in (tmp_path / "out/blocks").iterdir():
        if "00.csv" in done.read_text():
            done.unlink()
    run(model, archive, tmp_path / "out")
    assert refused(tmp_path / "out") == before


def test_kills_lose_and_double_nothing(model: Path, archive: Path, tmp_path: Path) -> None:
    assert run(model, archive, tmp_path / "whole").returncode == 0
    chance = random.Random(1)  # noqa: S311 - moments, not secrets
    out = tmp_path / "out"
    for _ in range(KILLS):
        there = blocks(out)
        process = subprocess.Popen(
            command(model, archive, out), cwd=ROOT, stderr=subprocess.DEVNULL
        )
        while process.poll() is None and blocks(out) == there < 12:
            time.sleep(0.001)
        time.sleep(chance.random() * 0.05)
        process.kill()
        process.wait(timeout=HANG)
    done = run(model, archive, out)
    assert done.returncode == 0, done.stderr
    assert "rows 480 = answered 480" in done.stdout
    assert answers(out) == answers(tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_the_block(
    model: Path, archive: Path, tmp_path: Path, number: signal.Signals
) -> None:
    for file in archive.iterdir():  # so many that it is not done before the signal
        more = "".join(f"{i},flood {file.stem} at gate {i}\n" for i in range(3000))
        file.write_text("id,text\n" + more)
    process = subprocess.Popen(
        command(model, archive, tmp_path / "out"), cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    wait_until(lambda: blocks(tmp_path / "out") > 0 or process.poll() is not None)
    process.send_signal(number)
    _, said = process.communicate(timeout=HANG)
    assert process.returncode == 128 + number, said
    assert "stopped; the same call goes on" in said
    assert 0 < blocks(tmp_path / "out") < 12
    assert len(answers(tmp_path / "out")) == 3000 * blocks(tmp_path / "out")


def test_two_at_once_write_the_same(model: Path, archive: Path, tmp_path: Path) -> None:
    line = command(model, archive, tmp_path / "out")
    both = [subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE) for _ in range(2)]
    for process in both:
        _, said = process.communicate(timeout=HANG)
        assert process.returncode == 0, said
    assert len({row["id"] for row in answers(tmp_path / "out")}) == 480
    assert not list((tmp_path / "out").rglob(".*"))


def test_another_run_is_refused(model: Path, archive: Path, tmp_path: Path) -> None:
    assert run(model, archive, tmp_path / "out").returncode == 0
    (archive / "07.csv").write_text("id,text\n1,new\n")
    done = run(model, archive, tmp_path / "out", "--keep", "id", "--format", "csv")
    assert done.returncode == 1
    said = f"run.json there is of another run: keep, format, inputs ({archive}/07.csv) differ"
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("content", ["", "{", "[]", "\udcff", '{"name": "x"}', '{"inputs": []}'])
def test_a_strange_record_of_the_run_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content, errors="surrogateescape")
    asked = Settings("v1", "onnxruntime", "text", None, "parquet", Format())
    with pytest.raises(InputError, match=rf"^{tmp_path}/run.json is damaged, or no run's; name a"):
        begin([], asked, sink(str(tmp_path)))


@pytest.mark.parametrize("content", ["", '{"file": "a.csv", "rows": 2', "{}", "[1]"])
def test_a_strange_record_of_a_block_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "blocks").mkdir()
    (tmp_path / "blocks/a-1.json").write_text(content)
    with pytest.raises(InputError, match=rf"^{tmp_path}/blocks/a-1.json: no record of a block; "):
        record("a-1", sink(str(tmp_path)))


@pytest.mark.parametrize("named", ["", "**/*"])
def test_answers_among_the_inputs_are_not_read(
    model: Path, archive: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.chdir(archive)  # one of the two is named otherwise than the other
    out, asked = Path("out"), [f"{archive}/{named}", "--files", "**/*"]
    first = run(model, *asked[:1], archive / out, *asked[1:])
    assert first.returncode == 0, first.stderr
    assert blocks(out) == 12
    again = run(model, *asked[:1], archive / out, *asked[1:])
    assert (again.returncode, again.stdout) == (0, first.stdout), again.stderr
    assert blocks(out) == 12


def test_an_output_that_holds_inputs_is_refused(model: Path, archive: Path, tmp_path: Path) -> None:
    for out in (archive, tmp_path, archive / "../archive"):
        done = run(model, archive, out)
        assert done.returncode == 1
        assert (
            done.stderr
            == f"error: {archive}/00.csv: OUTPUT holds this input; name a folder of its own\n"
        )
        assert not (out / "run.json").exists()
    assert run(model, archive / "00.csv", tmp_path / "out").returncode == 0
    (own,) = (tmp_path / "out/answers").iterdir()
    done = run(model, own, tmp_path / "out")
    assert f"{tmp_path}/out: OUTPUT holds all inputs" in done.stderr


def test_a_full_disk_keeps_what_is_done(model: Path, archive: Path, tmp_path: Path) -> None:
    many = "".join(f"{i},w{i * 7919}\n" for i in range(3000))
    (archive / "06.csv").write_text(f"id,text\n{many}")
    with no_file_beyond(15_000):
        done = run(model, archive, tmp_path / "out")
    assert done.returncode == 1
    assert re.search(r"error: .*/answers/.*: File too large; what is done is kept", done.stderr)
    assert not list((tmp_path / "out").rglob(".*"))
    assert run(model, archive, tmp_path / "out").returncode == 0
    assert len(answers(tmp_path / "out")) == 480 - 40 + 3000


WRONG = {
    "no such file": (["nowhere.csv"], "nowhere.csv: no such file"),
    "another column": (
        ["A", "--text", "tweet"],
        "lacks the column tweet; .* --text",
    ),
    "nothing to keep": (["A", "--keep", "user"], "lacks the column user; .* set --keep"),
    "no Beam": (["A", "--runner", "DirectRunner"], r"no apache_beam here: .*'\.\[beam\]'"),
    "no model": (["A", "--model", "prod"], "prod.*experiments.fetch NAME"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_call_is_explained(model: Path, archive: Path, tmp_path: Path, case: str) -> None:
    arguments, said = WRONG[case]
    first, *others = (str(archive) if argument == "A" else argument for argument in arguments)
    line = [*command(model, first, tmp_path / "out"), *others]  # the last --model counts
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.search(f"^error: .*{said}", done.stderr, re.M), done.stderr
    assert not (tmp_path / "out/answers").exists()
