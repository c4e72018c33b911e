"""The commands of the README and its pages, run as they stand."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.conftest import HANG, ROOT, Project, copied, lend_environment
from tests.experiments.conftest import queue_is_empty
from tests.serve.running import Running, free_port, wait_until

# A test of the tests cannot run the suite itself; tests/deploy runs the commands for the cloud.
LEFT_OUT = ("make test", "GOOGLE_CLOUD_PROJECT=", "dvc remote ")


def pages() -> list[Path]:
    """Return the README and the pages that it leads to, in its order."""
    readme = ROOT / "README.md"
    linked = re.findall(r"\((docs/\w+\.md|CONTRIBUTING\.md)\)", readme.read_text())
    return [readme, *(ROOT / name for name in dict.fromkeys(linked))]


def test_every_page_is_found_from_the_readme() -> None:
    assert {*(ROOT / "docs").glob("*.md")} < {*pages()}


def test_links_lead_somewhere() -> None:
    for page in pages():
        text = page.read_text()
        for link in re.findall(r"\]\(([^)]+)\)", text):
            if "://" in link:
                continue
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            assert target.exists(), f"{page.name}: {link}"
            heads = re.findall(r"^#+ (.*)", target.read_text(), re.M) if anchor else []
            slugs = [re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads]
            assert not anchor or anchor in slugs, f"{page.name}: {link}"


def commands() -> list[str]:
    text = "".join(page.read_text() for page in pages())
    blocks = re.findall(r"```sh\n(.*?)```", text, re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    return [line for line in lines if not line.startswith(LEFT_OUT)]


@pytest.fixture
def clone(tmp_path: Path, source: Path, pipeline: Project) -> Project:
    """A project after `make repro`, whose .venv is the environment of this test run."""
    project = copied(pipeline, tmp_path / "clone")
    lend_environment(project.folder)
    shutil.copyfile(source, project.folder / "my-tweets.csv")
    return project


def test_the_commands_work_in_their_order(clone: Project) -> None:
    known_lr = str(clone.params()["train"]["lr"])
    server: Running | None = None
    outputs = []
    for line in commands():
        if line == "make serve":
            server = serve(clone)
            continue
        command = line.replace("localhost:8080", f"127.0.0.1:{server.port}") if server else line
        if "--queue" in line:
            # Of both values DVC has the outputs, so that the queue trains nothing.
            command = line.replace("1e-4", known_lr)
        if "queue start" in line:
            # Its workers outlive their last experiment by a while, and would hold a pipe open.
            clone.run("bash", "-euc", f"{command} > queue.log 2>&1")
            assert wait_until(lambda: queue_is_empty(clone)), (
                clone.folder / "queue.log"
            ).read_text()
            continue
        result = clone.run("bash", "-euc", command)
        outputs.append(result.stdout)
        assert "error" not in result.stderr.lower(), line
    assert server
    os.killpg(server.process.pid, signal.SIGINT)  # as Ctrl-C does
    server.process.wait(timeout=HANG)
    assert "Traceback" not in server.output()
    output = "\n".join(outputs)
    assert re.search(r'"label": "(not_)?disaster"', output)
    for part in (
        "accuracy",
        '{"predictions": [{"label": ',
        "slower",
        "v0.0.1 has prod now",
        "that assigns stage to version 'v0.0.1'",
    ):
        assert part in output
    assert output.count("Success") == 2  # from the queue
    assert "<svg" in (clone.folder / "models/report.html").read_text()
    assert (clone.folder / "models/promoted/manifest.json").exists()


def serve(clone: Project) -> Running:
    """Run `make serve` until it answers."""
    port, log = free_port(), clone.folder.with_name("server.log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["make", "serve"],
            cwd=clone.folder,
            env=clone.environment(PORT=str(port)),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Running(process, port, log)
    server.wait_until_ready()
    return server
