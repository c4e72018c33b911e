import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.conftest import NOWHERE
from tests.deploy import google_cloud
from tests.deploy.google_cloud import GoogleCloud
from tests.gcs import Cloud

ROBOT = "robot@mine.iam.gserviceaccount.com"


@pytest.fixture(scope="session")
def private_key() -> str:
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without credentials, outside Google Cloud."""
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "no-gcloud"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HTTPS_PROXY", NOWHERE)
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "doctor-site-cache"))


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


@pytest.fixture
def google(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GoogleCloud]:
    """An empty Google Cloud that the real gcloud asks, in this process and in those it starts."""
    if not shutil.which("gcloud"):
        pytest.skip("no gcloud here")
    (folder := tmp_path / "google").mkdir()
    with google_cloud.running(folder) as cloud:
        for name in ("GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_REGION", "HTTPS_PROXY", "HTTP_PROXY"):
            monkeypatch.delenv(name, raising=False)
        for name, value in cloud.environment.items():
            monkeypatch.setenv(name, value)
        yield cloud
