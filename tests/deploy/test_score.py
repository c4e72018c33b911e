import shlex
from pathlib import Path

import pytest

from common.errors import InputError
from deploy import score
from deploy.google import GoogleProject
from tests.deploy.conftest import Command
from tests.deploy.fake_gcloud import NOTHING, Gcloud

CALL = ["score", "gs://archive/2026", "gs://archive/answers/", "--text", "tweet"]


def test_a_dry_run_prints_the_command_and_asks_nobody(
    gcloud: Gcloud,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "another")
    with pytest.raises(SystemExit, match="0"):
        command(*CALL, "--dry-run")
    words = shlex.split(capsys.readouterr().out)
    start, runner = words.index("score"), words.index("--runner")
    assert words[:start] == [*score.PYTHON, "-m"]
    assert words[start : start + 5] == CALL
    assert "--engine=openvino" in words[:runner]
    assert {
        "--service_account_email=disaster-tweets-score@another.iam.gserviceaccount.com",
        "--temp_location=gs://another-disaster-tweets/dataflow",
        "--min_cpu_platform=Intel Ice Lake",
        "--number_of_worker_harness_threads=1",
    } <= {*words[runner + 2 :]}
    assert gcloud.calls == []


def test_a_job_is_named_after_its_answers() -> None:
    targets = ("gs://archive/answers", "gs://archive/answers/", "gs://archive/others")
    jobs = [
        score.make_options(GoogleProject("my-project"), "image", target, 1) for target in targets
    ]
    assert jobs[0] == jobs[1] != jobs[2]


def test_the_image_of_the_commit_scores_and_its_status_is_handed_on(
    gcloud: Gcloud, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score, "get_commit", lambda: "c0ffee")
    gcloud.answers["artifacts docker images describe"] = lambda *_: NOTHING
    with pytest.raises(InputError, match=r"no image .*/score:c0ffee: python -m deploy images"):
        command(*CALL)
    monkeypatch.setattr(score, "get_image", lambda _, name, tag: f"{name}@sha256:{tag}")
    shell = f'printf "%s\\n" "$@" > {tmp_path}/words; exit 3'
    monkeypatch.setattr(score, "PYTHON", ["sh", "-c", shell, "python"])
    with pytest.raises(SystemExit, match="3"):
        command(*CALL, "--workers", "3")
    words = (tmp_path / "words").read_text().splitlines()
    assert {"--sdk_container_image=score@sha256:c0ffee", "--max_num_workers=3"} <= {*words}
