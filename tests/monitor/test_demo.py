"""The demo of an event runs from the first tweet to the adapted model."""

import json

from tests.conftest import Project


def test_a_simulated_event(pipeline: Project) -> None:
    output = pipeline.run("python", "-m", "examples.event").stdout
    folder = pipeline.folder / "monitor-demo"
    first, second, last = (
        json.loads((folder / name / "report.json").read_text())
        for name in ("without-labels", "labels", ".")
    )
    assert first["verdict"]["word"] == "look"
    assert first["estimated"]["accuracy"]["value"] is None
    assert (folder / "sample.html").exists()
    assert second["labels"]["tweets"] == 50
    assert last["labels"]["tweets"] > 150
    assert ", 0 failed\n" in output
    learnt = json.loads((folder / "after/manifest.json").read_text())["adaptation"]["tweets"]
    assert 10 < learnt <= 50
    assert output.splitlines()[-1].startswith("Accuracy before and after: ")
