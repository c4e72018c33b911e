import json
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from common.errors import InputError
from deploy.release import smoke
from locked.manifest import MANIFEST, read_manifest
from tests.conftest import NOWHERE, Project
from tests.deploy.fake_gcloud import Json
from tests.serve.running import serving

KEY = "a-key-of-the-endpoint"
PREDICTION = {"label": "disaster", "probability": 0.9}
RIGHT = {"predictions": [PREDICTION] * 2, "model": "one"}
ABSENT = InputError("no connection")


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([ABSENT, "<html>", RIGHT], ""),
        ([ABSENT], "no connection"),
        ([RIGHT | {"model": "two"}], "serves model two instead of one"),
        ([{"predictions": [{"label": "disaster"}] * 2}], "/predict answers b'{"),
        ([{"predictions": [PREDICTION]}], "/predict answers b'{"),
        (["<html>"], "/predict answers b'<html>"),
    ],
)
def test_a_server_must_answer_rightly_within_a_minute(
    answers: list[Json], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def request(_url: str, _key: str = "", body: object = None) -> bytes:
        answer = (answers.pop(0) if len(answers) > 1 else answers[0]) if body else "ready"
        if isinstance(answer, Exception):
            raise answer
        return answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()

    pauses: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: sum(pauses), sleep=pauses.append)
    monkeypatch.setattr(smoke, "_request", request)
    monkeypatch.setattr(smoke, "time", clock)
    with pytest.raises(InputError, match=message) if message else nullcontext():
        smoke.smoke("http://a.example", "one", KEY)
    assert sum(pauses) == (smoke.TIMEOUT + 0.5 if message else 1)


def test_only_http_is_asked() -> None:
    with pytest.raises(InputError, match="does not start with http"):
        smoke.smoke("file:///etc/passwd")


def test_the_server_of_this_project_passes_with_its_key_and_past_a_proxy(
    pipeline: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = read_manifest(pipeline.folder / "models/classifier" / MANIFEST).version
    monkeypatch.setattr(smoke, "TIMEOUT", 0)
    with serving(pipeline, tmp_path, API_KEYS=f"{KEY},another-key-of-the-endpoint") as server:
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, NOWHERE)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(sys, "argv", ["smoke", server.url, "--model", model])
        monkeypatch.setenv("API_KEY", KEY)
        smoke.main()
        assert capsys.readouterr().out == f"{server.url} answers rightly\n"
        monkeypatch.setenv("API_KEY", "wrong")
        with pytest.raises(InputError, match=r"/predict: .*401"):
            smoke.main()
