"""The doctor names the fault of a remote, and what most likely helps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.errors import InputError
from deploy.doctor import GRANT, LOGIN, PERMISSIONS, SET_REMOTE, examine
from tests.conftest import ROOT
from tests.deploy.conftest import REMOTE, ROBOT
from tests.gcs import Cloud

Ask = Callable[..., str]
ASK_PERMISSIONS = ("GET", "/iam/")
OUR_GRANT = GRANT.format(bucket="bucket")


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
    cloud.answers[ASK_PERMISSIONS] = 200, {"permissions": PERMISSIONS}
    (folder := tmp_path / "project/.dvc").mkdir(parents=True)

    def ask(**config: str) -> str:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", cloud.url)
        settings = {"url": "gs://bucket/dvc", "verify": "true"} | config
        lines = [f"    {key} = {value}\n" for key, value in settings.items()]
        (folder / "config").write_text(REMOTE + "".join(lines))
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
    ]


@pytest.mark.usefixtures("robot")
@pytest.mark.parametrize(
    ("config", "answers", "message", "remedy"),
    [
        (
            *(
                {},
                {
                    ASK_PERMISSIONS: (
                        200,
                        {"permissions": [PERMISSIONS[0], "storage.objects.get"]},
                    )
                },
            ),
            *("bucket does not grant storage.objects.delete, storage.objects.list", OUR_GRANT),
        ),
        ({}, {ASK_PERMISSIONS: (503, {"error": {"message": "Ill"}})}, "Ill", OUR_GRANT),
        ({}, {("POST", "/token"): (400, {"error": "invalid_grant"})}, "invalid_grant", LOGIN),
        ({"verify": "false"}, {}, "is no gs:// URL with `verify true`", SET_REMOTE),
        ({"url": "s3://bucket"}, {}, "is no gs:// URL", SET_REMOTE),
        ({"nonsense": "1"}, {}, "extra keys not allowed", SET_REMOTE),
    ],
)
def test_a_fault_is_named_with_its_remedy(
    ask: Ask,
    cloud: Cloud,
    private_key: str,
    config: dict[str, str],
    answers: dict[tuple[str, str], tuple[int, Any]],
    message: str,
    remedy: str,
) -> None:
    cloud.answers |= answers
    output = ask(**config)
    assert message in output
    assert output.endswith(remedy)
    assert not [line for line in private_key.splitlines() if line in output]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("", "not inside of a DVC repository"),
        ((ROOT / ".dvc/config").read_text().replace("\n", "\nno_scm = true\n", 1), "no gs://"),
    ],
)
def test_a_folder_without_a_remote(tmp_path: Path, config: str, message: str) -> None:
    if config:
        (tmp_path / ".dvc").mkdir()
        (tmp_path / ".dvc/config").write_text(config)
    output = output_for(tmp_path)
    assert message in output
    assert output.endswith(SET_REMOTE)


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("", "default credentials were not found"),
        ('{"type": "service_account", "private_key": "secret"}', "Failed to load service account"),
    ],
)
def test_a_missing_login_is_named_and_a_wrong_key_not_printed(
    ask: Ask, tmp_path: Path, key: str, message: str
) -> None:
    (path := tmp_path / "key.json").write_text(key)
    output = ask(**{"credentialpath": str(path)} if key else {})
    assert message in output
    assert output.endswith(LOGIN)
    assert "secret" not in output
