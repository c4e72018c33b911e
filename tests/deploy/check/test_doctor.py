"""The doctor says what is wrong with the remote, and what to do about it."""

import base64
import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from gcsfs import GCSFileSystem

from deploy.check.case import Case
from deploy.check.doctor import examine
from deploy.check.fixes import CLOCK, GIT, LOGIN
from deploy.google import NAMING
from tests.conftest import ROOT
from tests.deploy.conftest import ROBOT
from tests.gcs import Cloud

Ask = Callable[..., dict[str, tuple[str, str]]]
NAME_IT = " && ".join(NAMING).format(bucket="YOUR-BUCKET")
CONFIG = "[core]\nno_scm = true\nremote = storage\n['remote \"storage\"']\n"
TRUST = (
    "name your proxy's, for the login and for DVC:"
    " export REQUESTS_CA_BUNDLE=FILE SSL_CERT_FILE=FILE"
)
GRANT = (
    "gcloud storage buckets add-iam-policy-binding gs://bucket"
    f" --member=serviceAccount:{ROBOT} --role=roles/storage.objectUser"
)


def denied(permission: str) -> str:
    return (
        f"{ROBOT} does not have {permission} access to the Google Cloud Storage object."
        f" Permission '{permission}' denied on resource (or it may not exist)."
    )


@pytest.fixture
def ask(cloud: Cloud, tmp_path: Path) -> Ask:
    """Configure the remote of an empty project, and have it examined."""
    cloud.client().create_bucket("bucket")

    def examined(**config: str) -> dict[str, tuple[str, str]]:
        settings = {"url": "gs://bucket/dvc", "verify": "true", "endpointurl": cloud.url} | config
        (tmp_path / "project" / ".dvc").mkdir(parents=True, exist_ok=True)
        lines = [f"    {key} = {value}\n" for key, value in settings.items()]
        (tmp_path / "project/.dvc/config").write_text(CONFIG + "".join(lines))
        return {name: (says, fix) for name, *(says, fix) in examine(Case(tmp_path / "project"))}

    return examined


def fixes(findings: dict[str, tuple[str, str]]) -> dict[str, str]:
    return {name: fix for name, (_, fix) in findings.items() if fix}


@pytest.mark.usefixtures("robot")
def test_all_is_well(ask: Ask, cloud: Cloud, robot: Path) -> None:
    findings = ask()
    assert {name: says for name, (says, _) in findings.items()} == {
        "remote": "gs://bucket/dvc, where DVC verifies what it reads",
        "network": f"{cloud.url} answers",
        "clock": "agrees with the server's",
        "credentials": f"service account credentials, from {robot} file via the"
        " GOOGLE_APPLICATION_CREDENTIALS environment variable",
        "login": f"accepted: {ROBOT}",
        "project": "mine",
        "bucket": "bucket answers",
        **dict.fromkeys(["lists", "writes", "reads", "deletes"], "yes"),
        "contents": "whole",
    }
    assert not fixes(findings)
    assert list(cloud.client().list_blobs("bucket")) == []


@pytest.mark.usefixtures("robot")
@pytest.mark.parametrize(
    ("method", "path", "status", "message", "check", "fix"),
    [
        ("GET", "/o?", 403, denied("storage.objects.list"), "lists", GRANT),
        ("POST", "/upload", 403, denied("storage.objects.create"), "writes", GRANT),
        ("GET", "/download", 403, denied("storage.objects.get"), "reads", GRANT),
        ("DELETE", "/o/", 403, denied("storage.objects.delete"), "deletes", GRANT),
        (
            "DELETE",
            "/o/",
            403,
            "Object 'bucket/dvc/x' is subject to bucket's retention policy and cannot be deleted",
            "deletes",
            "none needed to push and pull; `dvc gc --cloud` cannot work",
        ),
        ("GET", "/iam/", 401, "Invalid Credentials", "bucket", LOGIN),
        (
            "GET",
            "/iam/",
            403,
            "Caller does not have required permission to use project other. Grant the caller the"
            " roles/serviceusage.serviceUsageConsumer role, or a custom role with it.",
            "bucket",
            "gcloud auth application-default set-quota-project YOUR-PROJECT",
        ),
        (
            "GET",
            "/iam/",
            403,
            "The billing account for the owning project is disabled in state absent",
            "bucket",
            "enable billing for the bucket's project in the Cloud console",
        ),
        (
            "GET",
            "/iam/",
            400,
            "Bucket is a requester pays bucket but no user project provided.",
            "bucket",
            "gcloud storage buckets update gs://bucket --no-requester-pays",
        ),
        (
            "GET",
            "/iam/",
            403,
            "Request had insufficient authentication scopes.",
            "bucket",
            "gcloud compute instances set-service-account VM --service-account=ACCOUNT"
            " --scopes=cloud-platform",
        ),
        (
            "GET",
            "/iam/",
            403,
            "Cloud Storage JSON API has not been used in project 1 before or it is disabled.",
            "bucket",
            "gcloud services enable storage.googleapis.com",
        ),
        (
            "GET",
            "/iam/",
            403,
            "Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: x",
            "bucket",
            "ask who administers your organization in Google Cloud",
        ),
        (
            "GET",
            "/iam/",
            400,
            "Invalid bucket name: 'bucket'",
            "bucket",
            "dvc remote modify --local storage url gs://YOUR-BUCKET/dvc",
        ),
        (
            "GET",
            "/iam/",
            503,
            "Backend Error",
            "bucket",
            "try again later; see https://status.cloud.google.com",
        ),
    ],
)
def test_what_the_bucket_refuses(
    ask: Ask, cloud: Cloud, method: str, path: str, status: int, message: str, check: str, fix: str
) -> None:
    cloud.refuse(method, path, status, message)
    findings = ask()
    assert findings[check] == (message, fix)
    assert set(fixes(findings)) == {check}
    assert ("not checked", "") in findings.values() or check in ("reads", "deletes")


@pytest.mark.usefixtures("robot")
def test_who_may_only_read_is_told_so(ask: Ask, cloud: Cloud) -> None:
    cloud.client().bucket("bucket").blob("dvc/there").upload_from_string("something")
    cloud.refuse("POST", "/upload", 403, denied("storage.objects.create"))
    findings = ask()
    assert set(fixes(findings)) == {"writes"}
    assert findings["reads"] == ("yes", "")
    assert findings["deletes"] == ("not checked", "")
    cloud.refuse("GET", "/download", 403, denied("storage.objects.get"))
    assert fixes(ask()) == {"writes": GRANT, "reads": GRANT}


@pytest.mark.usefixtures("robot")
def test_an_object_that_comes_back_altered(ask: Ask, cloud: Cloud) -> None:
    cloud.answers["GET", "/download"] = 200, "other"
    assert ask()["reads"][0] == "an object came back altered"


@pytest.mark.usefixtures("robot")
def test_a_bucket_that_is_not_there(ask: Ask) -> None:
    findings = ask(url="gs://other/dvc")
    assert findings["bucket"][0] == "other does not exist"
    assert fixes(findings) == {
        "bucket": "gcloud storage buckets create gs://other, or name another:"
        " dvc remote modify --local storage url gs://YOUR-BUCKET/dvc"
    }


@pytest.mark.usefixtures("robot")
@pytest.mark.parametrize(
    ("config", "says", "fix"),
    [
        ({"verify": "false"}, "takes altered objects", NAMING[1]),
        ({"url": "s3://bucket"}, "no bucket of Google", "dvc remote modify --local storage url gs"),
        ({"nonsense": "1"}, "extra keys not allowed", "correct .dvc/config.local"),
    ],
)
def test_a_remote_that_is_none(ask: Ask, config: dict[str, str], says: str, fix: str) -> None:
    findings = ask(**config)
    assert says in findings["remote"][0]
    assert findings["remote"][1].startswith(fix)
    assert {f for name, f in findings.items() if name != "remote"} == {("not checked", "")}


def test_the_repository_itself_names_no_bucket(ask: Ask, tmp_path: Path) -> None:
    ask()
    shutil.copyfile(ROOT / ".dvc/config", tmp_path / "project/.dvc/config")
    (tmp_path / "project/.dvc/config.local").write_text("[core]\n    no_scm = true\n")
    _, says, fix = next(iter(examine(Case(tmp_path / "project"))))
    assert (says, fix) == ("no bucket is named yet", NAME_IT)


@pytest.mark.parametrize(
    ("config", "says", "fix"),
    [
        (None, "not inside of a DVC repository", GIT),
        ("[core]\n", "is not a git repository", GIT),
        ("[core]\nno_scm = true\n", "no bucket is named yet", NAME_IT),
        ("[core]\nno_scm = true\nremote = mine\n", "there is no remote mine", NAME_IT),
        ("nonsense[", "Invalid line", "correct .dvc/config.local, or: git checkout .dvc/config"),
    ],
)
def test_a_folder_that_is_no_clone(tmp_path: Path, config: str | None, says: str, fix: str) -> None:
    if config:
        (tmp_path / ".dvc").mkdir()
        (tmp_path / ".dvc/config").write_text(config)
    findings = list(examine(Case(tmp_path)))
    assert says in findings[0][1]
    assert findings[0][2] == fix
    assert {tuple(rest) for _, *rest in findings[1:]} == {("not checked", "")}


def test_a_folder_that_may_not_be_written(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place := tmp_path / "file").touch()
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", f"{place}/nowhere")
    findings = ask()
    assert f"'{place}/nowhere" in findings["remote"][0]
    assert fixes(findings) == {
        "remote": "allow this user to read and write that path, or name another"
    }


@pytest.mark.usefixtures("robot")
def test_files_that_dvc_cannot_read(ask: Ask, tmp_path: Path) -> None:
    ask()
    (tmp_path / "project/dvc.yaml").write_text("stages: [")
    findings = ask()
    assert "dvc.yaml', YAML file structure is corrupted" in findings["contents"][0]
    assert fixes(findings) == {"contents": "correct that file; `git diff` shows it"}


@pytest.mark.usefixtures("nobody")
def test_no_credentials(ask: Ask, cloud: Cloud) -> None:
    findings = ask()
    assert findings["credentials"] == ("none; DVC would go on as nobody (anonymous)", LOGIN)
    assert findings["login"] == ("not checked", "")
    assert GCSFileSystem(endpoint_url=cloud.url).credentials.credentials is None
    assert not fixes(ask(allow_anonymous_login="true"))  # the emulator lets anybody in


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "was not found"),
        ("secret", "is not a valid json file"),
        ('["secret"]', "has no attribute"),
        ("", "Is a directory"),
        ('{"refresh_token": "secret"}', "does not have a valid type"),
        ('{"type": "service_account", "private_key": "secret"}', "Failed to load service account"),
    ],
)
def test_credentials_that_are_none(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, says: str
) -> None:
    path = tmp_path / "key.json"
    if content == "":
        path.mkdir()
    elif content:
        path.write_text(content)
    findings = ask(credentialpath=str(path))
    assert says in findings["credentials"][0]
    assert fixes(findings)["credentials"].startswith("correct the remote's credentialpath")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    findings = ask()
    assert says in findings["credentials"][0]
    assert fixes(findings)["credentials"].startswith("correct GOOGLE_APPLICATION_CREDENTIALS")
    assert "secret" not in str(findings)


def test_a_key_of_the_remotes_own(ask: Ask, robot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    findings = ask(credentialpath=str(robot))
    assert findings["credentials"][0] == f"google.oauth2.service_account, from {robot}"
    assert findings["login"][0] == f"accepted: {ROBOT}"
    assert not fixes(findings)


JWT = (
    "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
    " Check your iat and exp values in the JWT claim."
)


@pytest.mark.usefixtures("robot")
@pytest.mark.parametrize(
    ("description", "fix"),
    [
        (JWT, CLOCK),
        ("Invalid JWT Signature.", f"make another key, or use your own: {LOGIN}"),
        ("Invalid grant: account not found", f"make another key, or use your own: {LOGIN}"),
    ],
)
def test_a_key_that_is_refused(ask: Ask, cloud: Cloud, description: str, fix: str) -> None:
    error = {"error": "invalid_grant", "error_description": description}
    cloud.answers["POST", "/token"] = 400, error
    findings = ask()
    assert findings["login"] == (f"invalid_grant: {description}", fix)
    assert set(fixes(findings)) == {"login"}


@pytest.fixture
def user(
    nobody: None, cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """The answer of the cloud to a person's login."""
    login = {
        "type": "authorized_user",
        "client_id": "id",
        "client_secret": "secret-client",
        "refresh_token": "secret-refresh",
    }
    (path := tmp_path / "login.json").write_text(json.dumps(login))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    monkeypatch.setattr(
        "google.oauth2.credentials._GOOGLE_OAUTH2_TOKEN_ENDPOINT", f"{cloud.url}/token"
    )
    answer: dict[str, Any] = {"access_token": "secret-token", "expires_in": 3600}
    cloud.answers["POST", "/token"] = 200, answer
    return answer


def test_a_person_is_named(ask: Ask, cloud: Cloud, user: dict[str, Any]) -> None:
    assert ask()["login"] == ("accepted: a user", "")
    parts = (json.dumps(part).encode() for part in ({"alg": "none"}, {"email": "me@mine.org"}))
    user["id_token"] = ".".join([base64.urlsafe_b64encode(p).decode().strip("=") for p in parts])
    user["id_token"] += ".c2lnbmVk"
    cloud.refuse("POST", "/upload", 403, "me@mine.org does not have storage.objects.create access")
    findings = ask()
    assert findings["login"] == ("accepted: me@mine.org", "")
    assert "--member=user:me@mine.org " in findings["writes"][1]


@pytest.mark.usefixtures("user")
@pytest.mark.parametrize(
    "error",
    [
        {"error": "invalid_grant", "error_description": "Token has been expired or revoked."},
        {"error": "invalid_grant", "error_subtype": "invalid_rapt"},
    ],
)
def test_an_expired_login(ask: Ask, cloud: Cloud, error: dict[str, str]) -> None:
    cloud.answers["POST", "/token"] = 400, error
    assert fixes(ask()) == {"login": LOGIN}


@pytest.mark.usefixtures("robot")
def test_another_project_than_the_credentials(
    ask: Ask, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    findings = ask(projectname="theirs")
    assert findings["project"][0].startswith("mine is the credentials', theirs the remote's")
    assert fixes(findings) == {"project": "export GOOGLE_CLOUD_PROJECT=theirs"}
    quietly = GCSFileSystem(project="theirs", endpoint_url=cloud.url)
    assert quietly.credentials.credentials is None
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "theirs")
    assert not fixes(ask(projectname="theirs"))


@pytest.mark.usefixtures("robot")
@pytest.mark.parametrize(
    ("ahead", "says"), [(720, "12 minutes behind the server's"), (-600, "10 minutes ahead of")]
)
def test_a_clock_that_is_off(ask: Ask, cloud: Cloud, ahead: float, says: str) -> None:
    cloud.clock_ahead = ahead
    findings = ask()
    assert findings["clock"][0].startswith(says)
    assert fixes(findings) == {"clock": CLOCK}


@pytest.mark.usefixtures("robot")
def test_no_network(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    findings = ask(endpointurl="http://127.0.0.1:9")
    assert "Connection refused" in findings["network"][0]
    assert fixes(findings) == {"network": "connect, or name your proxy in HTTPS_PROXY"}
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert fixes(ask(endpointurl="http://storage.example")) == {
        "network": "correct or unset HTTPS_PROXY"
    }


@pytest.mark.usefixtures("robot")
@pytest.mark.parametrize(
    ("year", "trusted_by", "fix"),
    [
        (datetime.now().year, (), TRUST),
        (datetime.now().year, ("REQUESTS_CA_BUNDLE",), TRUST),  # the login alone would work
        (datetime.now().year, ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"), None),
        (2020, ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"), CLOCK),
    ],
)
def test_certificates(
    ask: Ask,
    private_key: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    year: int,
    trusted_by: tuple[str, ...],
    fix: str | None,
) -> None:
    key: Any = serialization.load_pem_private_key(private_key.encode(), None)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "proxy")])
    start = datetime(year, 1, 1) - timedelta(days=1)
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + timedelta(days=400))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    (own := tmp_path / "own.pem").write_bytes(
        private_key.encode() + certificate.public_bytes(serialization.Encoding.PEM)
    )
    for variable in trusted_by:
        monkeypatch.setenv(variable, str(own))
    # DVC's client makes it when it is imported, from what the variables say then.
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", ssl.create_default_context())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own)
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as listener:
        listener.socket = context.wrap_socket(listener.socket, server_side=True)
        thread = threading.Thread(target=listener.serve_forever, args=(0.05,))
        thread.start()
        findings = ask(endpointurl=f"https://127.0.0.1:{listener.server_port}")
        listener.shutdown()
        thread.join()
    assert fixes(findings).get("network") == fix


@pytest.mark.usefixtures("robot")
def test_the_page(ask: Ask, cloud: Cloud, tmp_path: Path, private_key: str) -> None:
    def page() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "deploy.check.doctor"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            command,
            cwd=tmp_path / "project",
            env=environment,
            text=True,
            capture_output=True,
            check=False,
        )

    ask()
    done = page()
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == 12
    assert f"ok    login        accepted: {ROBOT}\n" in done.stdout
    cloud.answers["POST", "/token"] = 400, {"error": "invalid_grant", "error_description": JWT}
    done = page()
    assert done.returncode == 1
    assert f"FAIL  login        invalid_grant: {JWT}\n" in done.stdout
    assert f"                   fix: {CLOCK}\n" in done.stdout
    assert "\n-     bucket       not checked\n" in done.stdout
    for secret in ("secret", *private_key.splitlines()):
        assert secret not in done.stdout + done.stderr
