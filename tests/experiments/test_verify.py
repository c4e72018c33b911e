"""Making all outputs again, and comparing them with dvc.lock."""

import signal
from pathlib import Path

from tests.conftest import HANG, ROOT, Project
from tests.experiments.conftest import STARTED, Call, commit, set_lr, start_until_trained


def test_the_same_bytes_come_out_again_or_the_outputs_that_differ_are_named(
    toy: Project, call: Call
) -> None:
    (toy.folder / "toy.py").write_text("changed")
    printed = call(toy, "verify")
    assert "without the changes to toy.py" in printed
    lines = printed.partition("\non ")[2].splitlines()[1:]
    assert [line.split() for line in lines[:2]] == [["train", "equal"], ["evaluate", "equal"]]
    assert lines[2] == "every output has the bytes of dvc.lock"
    toy.run("git", "checkout", "toy.py")
    lock = toy.folder / "dvc.lock"
    checkpoint, _ = toy.lock()["stages"]["train"]["outs"]
    assert checkpoint["path"] == "models/checkpoint"
    lock.write_text(lock.read_text().replace(checkpoint["md5"], f"{'0' * 32}.dir"))
    commit(toy)
    printed = call(toy, "verify", status=1)
    assert "train     differs: models/checkpoint\n" in printed
    assert "evaluate  equal\n" in printed
    assert "outputs differ from dvc.lock, first in train;" in printed


def test_a_stage_that_fails_and_a_missing_lock_are_no_difference(toy: Project, call: Call) -> None:
    (toy.folder / "toy.py").write_text("exit(1)")
    commit(toy)
    assert call(toy, "verify", status=1).endswith("dvc repro failed; its message is above")
    toy.run("git", "rm", "--quiet", "dvc.lock")
    commit(toy, "no lock")
    assert "dvc.lock: the last commit has none" in call(toy, "verify", status=1)


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
