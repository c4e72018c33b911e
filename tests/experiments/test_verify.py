"""Making all outputs again, and comparing them with dvc.lock."""

import signal
from pathlib import Path

from tests.conftest import HANG, ROOT, Project
from tests.experiments.conftest import STARTED, Call, commit, set_lr, start_until_trained


def test_the_same_bytes_come_out_again(toy: Project, call: Call) -> None:
    (toy.folder / "toy.py").write_text("changed")
    printed = call(toy, "verify")
    assert "without the changes to toy.py" in printed
    lines = printed.partition("\non ")[2].splitlines()[1:]
    assert [line.split() for line in lines[:2]] == [["train", "equal"], ["evaluate", "equal"]]
    assert lines[2] == "every output has the bytes of dvc.lock"


def test_the_outputs_that_differ_are_named(toy: Project, call: Call) -> None:
    lock = toy.folder / "dvc.lock"
    checkpoint, _ = toy.lock()["stages"]["train"]["outs"]
    assert checkpoint["path"] == "models/checkpoint"
    lock.write_text(lock.read_text().replace(checkpoint["md5"], f"{'0' * 32}.dir"))
    commit(toy)
    printed = call(toy, "verify", status=1)
    assert "train     differs: models/checkpoint\n" in printed
    assert "evaluate  equal\n" in printed
    assert "outputs differ from dvc.lock, first in train;" in printed


def test_without_a_lock_there_is_nothing_to_compare(toy: Project, call: Call) -> None:
    toy.run("git", "rm", "--quiet", "dvc.lock")
    toy.run("git", "commit", "--quiet", "--message", "no lock")
    assert "dvc.lock: the last commit has none" in call(toy, "verify", status=1)


def test_a_stage_that_fails_is_no_difference(toy: Project, call: Call) -> None:
    (toy.folder / "toy.py").write_text("exit(1)")
    commit(toy)
    assert call(toy, "verify", status=1).endswith("dvc repro failed; its message is above")


def test_its_processes_end_with_it(toy: Project, tmp_path: Path) -> None:
    set_lr(toy, STARTED)
    commit(toy)
    (temporary := tmp_path / "temporary").mkdir()
    command = ("python", "-m", "experiments.verify")
    extra = {"TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
    process = start_until_trained(toy, *command, **extra)
    process.terminate()
    assert process.wait(HANG) == 128 + signal.SIGTERM
    assert process.stdout
    process.stdout.read()  # to its end: no process holds it any longer
    assert not list(temporary.glob("verify-*"))
