import shlex
import sys
from pathlib import Path

import pytest

from common.errors import InputError
from deploy import score
from deploy.google import GoogleProject
from tests.deploy.fake_gcloud import NOTHING, Gcloud

CALL = ["score", "gs://archive/2026", "gs://archive/answers/", "--text", "tweet"]


def test_a_dry_run_prints_the_command_and_asks_nobody(
    gcloud: Gcloud, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "another")
    monkeypatch.setattr(sys, "argv", [*CALL, "--dry-run"])
    score.main()
    (line,) = capsys.readouterr().out.splitlines()
    words = shlex.split(line)
    call = words.index("score")
    assert words[:call] == [*score.PYTHON, "-m"]
    assert words[call : call + 5] == CALL
    assert "--engine=openvino" in words[call : words.index("--runner")]
    options = dict(word.partition("=")[::2] for word in words[words.index("--runner") + 2 :])
    assert options["--min_cpu_platform"] == score.CPU
    account = "disaster-tweets-score@another.iam.gserviceaccount.com"
    assert options["--service_account_email"] == account
    assert options["--temp_location"] == "gs://another-disaster-tweets/dataflow"
    assert options["--number_of_worker_harness_threads"] == "1"
    assert gcloud.calls == []


def test_a_job_is_named_after_its_answers() -> None:
    names = [
        next(
            word
            for word in score.job(GoogleProject("my-project"), "image", target, 1)
            if "job_" in word
        )
        for target in ("gs://archive/answers", "gs://archive/answers/", "gs://archive/others")
    ]
    assert names[0] == names[1] != names[2]


def test_the_image_of_the_commit_scores_and_its_status_is_handed_on(
    gcloud: Gcloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score, "commit", lambda: "c0ffee")
    gcloud.answers["artifacts docker images describe"] = lambda *_: NOTHING
    monkeypatch.setattr(sys, "argv", [*CALL, "--workers", "3"])
    with pytest.raises(InputError, match=r"no image .*/score:c0ffee yet: python -m deploy images"):
        score.main()
    monkeypatch.setattr(
        score, "built", lambda project, name, tag: f"{project.images}/{name}@sha256:{tag}"
    )
    shell = f'printf "%s\\n" "$@" > {tmp_path}/words; exit 3'
    monkeypatch.setattr(score, "PYTHON", ["sh", "-c", shell, "python"])
    with pytest.raises(SystemExit) as ended:
        score.main()
    assert ended.value.code == 3
    words = (tmp_path / "words").read_text().splitlines()
    images = GoogleProject("my-project").images
    assert {f"--sdk_container_image={images}/score@sha256:c0ffee", "--max_num_workers=3"} <= {
        *words
    }
