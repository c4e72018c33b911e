"""The doctor names the fault of a remote, and what most likely helps."""

from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import InputError
from deploy.doctor import GRANT, LOGIN, NEEDED, SET_REMOTE, examine
from tests.conftest import ROOT
from tests.deploy.conftest import ROBOT
from tests.gcs import Cloud

Ask = Callable[..., str]
CONFIG = "[core]\nno_scm = true\nremote = storage\n['remote \"storage\"']\n"
PERMISSIONS = ("GET", "/iam/")


def output_for(folder: Path) -> str:
    """Return the lines for a workspace, and the error that ends them."""
    lines: list[str] = []
    try:
        lines.extend(examine(folder))
    except InputError as error:
        lines.append(str(error))
    return "\n".join(lines)


@pytest.fixture
def ask(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Configure the remote of an empty project, and have it examined."""
    cloud.client().create_bucket("bucket")
    cloud.answers[PERMISSIONS] = 200, {"permissions": NEEDED}
    (folder := tmp_path / "project/.dvc").mkdir(parents=True)

    def ask(**config: str) -> str:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", cloud.url)
        settings = {"url": "gs://bucket/dvc", "verify": "true"} | config
        lines = [f"    {key} = {value}\n" for key, value in settings.items()]
        (folder / "config").write_text(CONFIG + "".join(lines))
        return output_for(folder.parent)

    return ask


@pytest.mark.parametrize("own_key", [False, True])
def test_all_is_well(ask: Ask, robot: Path, own_key: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if own_key:
        monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    lines = ask(**{"credentialpath": str(robot)} if own_key else {}).splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["remote", "gs://bucket/dvc"],
        ["login", ROBOT],
        ["permissions", "storage.objects.create,"],
        ["contents", "complete,"],
    ]


@pytest.mark.usefixtures("robot")
def test_a_missing_permission_is_named_with_the_command_that_grants_it(
    ask: Ask, cloud: Cloud
) -> None:
    cloud.answers[PERMISSIONS] = 200, {"permissions": ["storage.objects.get", *NEEDED[:1]]}
    output = ask()
    assert "bucket does not grant storage.objects.delete, storage.objects.list" in output
    assert output.endswith(GRANT.format(bucket="bucket"))


@pytest.mark.usefixtures("robot")
@pytest.mark.parametrize(
    ("request_line", "status", "message"),
    [
        (PERMISSIONS, 403, "The billing account is disabled"),
        (PERMISSIONS, 503, "Backend Error"),
        (("GET", "/o?"), 403, "retention policy"),
    ],
)
def test_the_words_of_google_are_passed_on(
    ask: Ask, cloud: Cloud, request_line: tuple[str, str], status: int, message: str
) -> None:
    cloud.refuse(*request_line, status, message)
    assert message in ask()


@pytest.mark.usefixtures("robot")
@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"verify": "false"}, "gs://bucket/dvc is no gs:// URL with `verify true`"),
        ({"url": "s3://bucket"}, "s3://bucket is no gs:// URL"),
        ({"nonsense": "1"}, "extra keys not allowed"),
    ],
)
def test_a_remote_that_cannot_be_used(ask: Ask, config: dict[str, str], message: str) -> None:
    output = ask(**config)
    assert message in output.splitlines()[0]
    assert output.endswith(SET_REMOTE)


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
    ],
)
def test_a_folder_without_a_remote(tmp_path: Path, config: str | None, message: str) -> None:
    if config:
        (tmp_path / ".dvc").mkdir()
        (tmp_path / ".dvc/config").write_text(config)
    output = output_for(tmp_path)
    assert message in output
    assert output.endswith(SET_REMOTE)


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "default credentials were not found"),
        ("secret", "is not a valid json file"),
        ('{"type": "service_account", "private_key": "secret"}', "Failed to load service account"),
    ],
    ids=["no login", "no JSON", "no key"],
)
def test_a_missing_login_is_named_and_a_wrong_key_not_printed(
    ask: Ask, tmp_path: Path, content: str | None, message: str
) -> None:
    path = tmp_path / "key.json"
    path.write_text(content or "")
    output = ask(**{"credentialpath": str(path)} if content else {})
    assert message in output
    assert output.endswith(LOGIN)
    assert "secret" not in output


def test_a_login_that_google_refuses(ask: Ask, cloud: Cloud, robot: Path, private_key: str) -> None:
    refusal = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
    cloud.answers["POST", "/token"] = 400, refusal
    output = ask()
    assert "invalid_grant: Invalid JWT Signature." in output
    assert not [line for line in private_key.splitlines() if line in output]
