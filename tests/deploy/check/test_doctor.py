"""The doctor says what is wrong with the remote, and what most likely helps."""

from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.check import doctor
from deploy.check.doctor import GRANT, LOGIN, NAME_IT, NEEDED, Case, examine
from tests.conftest import ROOT
from tests.deploy.conftest import ROBOT
from tests.gcs import Cloud

Ask = Callable[..., dict[str, tuple[str, str]]]
CONFIG = "[core]\nno_scm = true\nremote = storage\n['remote \"storage\"']\n"
NOT_CHECKED = ("not checked", "")
PERMISSIONS = ("GET", "/iam/")


@pytest.fixture
def ask(cloud: Cloud, tmp_path: Path) -> Ask:
    """Configure the remote of an empty project, and have it examined."""
    cloud.client().create_bucket("bucket")
    cloud.answers[PERMISSIONS] = 200, {"permissions": NEEDED}

    def examined(**config: str) -> dict[str, tuple[str, str]]:
        settings = {"url": "gs://bucket/dvc", "verify": "true", "endpointurl": cloud.url} | config
        (tmp_path / "project" / ".dvc").mkdir(parents=True, exist_ok=True)
        lines = [f"    {key} = {value}\n" for key, value in settings.items()]
        (tmp_path / "project/.dvc/config").write_text(CONFIG + "".join(lines))
        return {name: (text, fix) for name, text, fix in examine(Case(tmp_path / "project"))}

    return examined


def failed(findings: dict[str, tuple[str, str]]) -> dict[str, str]:
    return {name: fix for name, (_, fix) in findings.items() if fix}


@pytest.mark.parametrize("own_key", [False, True])
def test_all_is_well(ask: Ask, robot: Path, own_key: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if own_key:
        monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    findings = ask(**{"credentialpath": str(robot)} if own_key else {})
    assert not failed(findings)
    assert findings["remote"][0] == "gs://bucket/dvc"
    assert findings["login"][0].startswith(f"{ROBOT}, from {robot}")
    assert findings["contents"][0] == "whole"


@pytest.mark.usefixtures("robot")
def test_a_permission_that_lacks_is_named_with_the_command_that_grants_it(
    ask: Ask, cloud: Cloud
) -> None:
    cloud.answers[PERMISSIONS] = 200, {"permissions": ["storage.objects.get"]}
    findings = ask()
    assert findings["permissions"] == (
        "bucket does not grant storage.objects.create, storage.objects.delete, "
        "storage.objects.list",
        GRANT.format(bucket="bucket", member=f"serviceAccount:{ROBOT}"),
    )
    assert findings["contents"] == NOT_CHECKED


@pytest.mark.usefixtures("robot")
@pytest.mark.parametrize(
    ("request_line", "status", "message", "check"),
    [
        (PERMISSIONS, 403, "The billing account is disabled", "permissions"),
        (PERMISSIONS, 404, "The specified bucket does not exist.", "permissions"),
        (PERMISSIONS, 503, "Backend Error", "permissions"),
        (("GET", "/o?"), 403, "retention policy", "contents"),
    ],
)
def test_the_words_of_google_are_passed_on(
    ask: Ask, cloud: Cloud, request_line: tuple[str, str], status: int, message: str, check: str
) -> None:
    cloud.refuse(*request_line, status, message)
    findings = ask()
    assert message in findings[check][0]
    assert list(failed(findings)) == [check]


@pytest.mark.usefixtures("robot")
@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"verify": "false"}, "would accept altered objects"),
        ({"url": "s3://bucket"}, "s3://bucket is no bucket of Google"),
        ({"nonsense": "1"}, "extra keys not allowed"),
    ],
)
def test_a_remote_that_cannot_be_used(ask: Ask, config: dict[str, str], message: str) -> None:
    findings = ask(**config)
    assert message in findings["remote"][0]
    assert failed(findings) == {"remote": NAME_IT}
    assert {finding for name, finding in findings.items() if name != "remote"} == {NOT_CHECKED}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "not inside of a DVC repository"),
        ("[core]\n", "is not a git repository"),
        ("[core]\nno_scm = true\nremote = mine\n", "there is no remote mine"),
        (
            (ROOT / ".dvc/config").read_text().replace("[core]", "[core]\nno_scm = true"),
            "no remote",
        ),
        ("nonsense[", "Invalid line"),
    ],
)
def test_a_folder_without_a_remote(tmp_path: Path, config: str | None, message: str) -> None:
    if config:
        (tmp_path / ".dvc").mkdir()
        (tmp_path / ".dvc/config").write_text(config)
    findings = list(examine(Case(tmp_path)))
    assert message in findings[0][1]
    assert findings[0][2] == NAME_IT


@pytest.mark.usefixtures("robot")
def test_a_file_that_dvc_cannot_read(ask: Ask, tmp_path: Path) -> None:
    ask()
    (tmp_path / "project/dvc.yaml").write_text("stages: [")
    assert "dvc.yaml', YAML file structure is corrupted" in ask()["contents"][0]


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "was not found"),
        ("secret", "is not a valid json file"),
        ('["secret"]', "has no attribute"),
        ('{"type": "service_account", "private_key": "secret"}', "Failed to load service account"),
    ],
    ids=["absent", "no JSON", "no object", "no key"],
)
def test_a_key_that_is_none(ask: Ask, tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "key.json"
    if content:
        path.write_text(content)
    text, fix = ask(credentialpath=str(path))["login"]
    assert message in text
    assert text.endswith("DVC would continue without a login (anonymously)")
    assert fix.startswith(LOGIN)
    assert "secret" not in text


@pytest.mark.usefixtures("nobody")
def test_no_login(ask: Ask) -> None:
    text, fix = ask()["login"]
    assert "default credentials were not found" in text
    assert fix.startswith(LOGIN)
    assert not failed(ask(allow_anonymous_login="true"))  # the emulator admits anybody


def test_a_login_that_google_refuses(
    ask: Ask,
    cloud: Cloud,
    robot: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    private_key: str,
) -> None:
    ask()
    refusal = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
    cloud.answers["POST", "/token"] = 400, refusal
    monkeypatch.chdir(robot.parent / "project")
    monkeypatch.setattr("sys.argv", ["doctor"])
    with pytest.raises(SystemExit, match="True"):
        doctor.main()
    page = capsys.readouterr().out
    assert "ok    remote       gs://bucket/dvc\n" in page
    assert "FAIL  login        invalid_grant: Invalid JWT Signature." in page
    assert f"                   try: {LOGIN}" in page
    assert "-     contents     not checked\n" in page
    assert not [line for line in private_key.splitlines() if line in page]
