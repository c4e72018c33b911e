import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from deploy import __main__ as deploy
from deploy import google
from tests.conftest import NOWHERE
from tests.deploy.fake_gcloud import Gcloud
from tests.gcs import Cloud

ROBOT = "robot@mine.iam.gserviceaccount.com"
REMOTE = "[core]\nno_scm = true\nremote = storage\n['remote \"storage\"']\n"  # of .dvc/config
Command = Callable[..., None]


@pytest.fixture(scope="session")
def private_key() -> str:
    key = rsa.generate_private_key(65537, 2048)
    formats = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(*formats, serialization.NoEncryption()).decode()


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without credentials, outside Google Cloud."""
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    settings = no_cloud(tmp_path) | {"NO_PROXY": "127.0.0.1", "HTTPS_PROXY": NOWHERE}
    for name, value in (settings | {"DVC_SITE_CACHE_DIR": str(tmp_path / "site-cache")}).items():
        monkeypatch.setenv(name, value)


def no_cloud(folder: Path) -> dict[str, str]:
    """Return variables with which Google's libraries find no login and ask no other machine."""
    return {
        "CLOUDSDK_CONFIG": str(folder / "no-gcloud"),
        "NO_GCE_CHECK": "true",
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
    }


@pytest.fixture
def robot(
    nobody: None, cloud: Cloud, private_key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The key of a service account whose tokens the emulated cloud gives out."""
    cloud.answers["POST", "/token"] = 200, {"access_token": "secret-token", "expires_in": 3600}
    info = {
        "type": "service_account",
        "project_id": "mine",
        "private_key": private_key,
        "client_email": ROBOT,
        "token_uri": f"{cloud.url}/token",
    }
    (path := tmp_path / "robot.json").write_text(json.dumps(info))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    return path


WRONG = ("run", "services", "list", "--projct=a")
CALLS: set[tuple[str, ...]] = {WRONG}  # of gcloud, by all tests


@pytest.fixture
def gcloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gcloud]:
    """A gcloud without Google, instead of the process that deploy.google starts."""
    fake = Gcloud()
    monkeypatch.setattr(google, "subprocess", SimpleNamespace(run=fake.run))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "my-project")
    monkeypatch.delenv("GOOGLE_CLOUD_REGION", raising=False)
    yield fake
    CALLS.update(fake.calls)


@pytest.fixture
def command(gcloud: Gcloud, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`python -m deploy` in this process."""

    def run(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["deploy", *arguments])
        deploy.main()

    return run


@pytest.fixture(scope="package", autouse=True)
def lint_the_calls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let the real gcloud, where it is installed, check the words and flags of all calls.

    One call stands for all with the same words and flags; its values are masked where gcloud's
    linter cannot read them.
    """
    yield
    if not shutil.which("gcloud"):
        return
    commands = {}
    for call in CALLS:
        words = [word.partition("=")[0] for word in call if not word.startswith(google.NAME)]
        shape = tuple(word for word in words if re.fullmatch("[a-z-]+", word))
        line = " ".join(re.sub(r"[^\w:/.,=@-]", "_", word) for word in call)
        commands[shape] = {"command_string": f"gcloud {line}"}
    folder = tmp_path_factory.mktemp("lint")
    (path := folder / "commands.json").write_text(json.dumps([*commands.values()]))
    settings = {"CLOUDSDK_CONFIG": str(folder), "CLOUDSDK_CORE_CHECK_GCE_METADATA": "0"}
    lint = ["gcloud", "meta", "lint-gcloud-commands", f"--commands-file={path}", "--quiet"]
    linter = subprocess.run(lint, env=os.environ | settings, capture_output=True, check=True)
    results = json.loads(linter.stdout)
    assert len(results) == len(commands)
    wrong = [f"{e['command_string']}: {e['error_message']}" for e in results if not e["success"]]
    assert len(wrong) == 1 and "--projct" in wrong[0], wrong
