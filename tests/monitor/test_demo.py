"""A real server's log and feedback are what the monitor reads."""

import json

from tests.conftest import Project


def test_from_the_first_tweet_to_the_page(pipeline: Project) -> None:
    done = pipeline.run("python", "-m", "monitor.demo")
    folder = pipeline.folder / "monitor-demo"
    report = json.loads((folder / "report.json").read_text())
    (one,) = report["versions"]
    sent = one["predictions"]
    assert sent > 600
    assert one["different"] < sent  # the floods come again
    for lines in (report["lines"], report["verdict_lines"]):
        assert lines["read"] > 0 == lines["broken"] == lines["others"]
    assert one["effects"]["capitals"]["low"] > 0
    assert one["texts"] == sent
    assert one["reviewed"]["tweets"] == 200
    assert one["volunteered"]["given"] > one["volunteered"]["tweets"] > 0  # again, on one tweet
    assert one["volunteered"]["unknown"] == 0
    assert "monitor-demo/report.html\n" in done.stdout
    assert (folder / "report.html").exists()
