"""Settings come from the environment, and a bad one is named."""

from pathlib import Path

import pytest

from serve.settings import BadSettingError, Settings, load


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("ENGINE", "", None),
        ("PORT", " ", 8080),
        ("PORT", "'9001'", 9001),
        ("LOG_LEVEL", "INFO", "info"),
        ("HOST", '"0.0.0.0"', "0.0.0.0"),  # noqa: S104
        ("MODEL_URI", "\ufeff gs://models/best\r\n", "gs://models/best"),
    ],
)
def test_what_surrounds_a_value_is_taken_off(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: object
) -> None:
    monkeypatch.setenv(name, value)
    assert getattr(load(), name.lower()) == expected


def keys(settings: Settings) -> list[str]:
    """Return the admin key and the others."""
    return [key.get_secret_value() for key in (settings.admin_key, *settings.api_keys) if key]


@pytest.mark.parametrize("value", ['"{}"', "'{}'", '"{}",', " {} ,", "\ufeff{}\n", '"{}"\r\n'])
def test_a_key_is_bare(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("API_KEYS", value.format("a" * 16))
    monkeypatch.setenv("ADMIN_KEY", value.rstrip(" ,").format("b" * 16))
    assert keys(load()) == ["b" * 16, "a" * 16]


BAD = {
    "PORT": ["http", "80"],
    "HOST": ["x86_64-conda-linux-gnu"],
    "WORKERS": ["0"],
    "THREADS": ["-1"],
    "MAX_QUEUE": ["many"],
    "REQUEST_TIMEOUT": ["0"],
    "API_KEYS": ["short", "", '"",', "a key with blanks in it", "\u201ca-key-that-lost-its-end"],
    "ADMIN_KEY": ["short", " "],
    "LOG_LEVEL": ["loud"],
    "SECRETS_DIR": ["/nowhere"],
}


@pytest.mark.parametrize(("name", "value"), [(n, value) for n in BAD for value in BAD[n]])
def test_a_bad_one_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BadSettingError, match=rf"\b{name}[: ]") as error:
        load()
    assert "KEY" not in name or len(value) < 6 or value not in str(error.value)


def test_secrets_may_lie_in_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "ADMIN_KEY").write_text("\ufeffa-secret-of-some-length\r\n", encoding="utf-8")
    (tmp_path / "api_keys").write_text("\ufeffthe-first-of-two-keys,\nthe-second-of-two-keys\n")
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path))
    expected = ["a-secret-of-some-length", "the-first-of-two-keys", "the-second-of-two-keys"]
    assert keys(load()) == expected
    assert "secret" not in repr(load())


def test_every_setting_is_documented() -> None:
    readme = (Path(__file__).parents[2] / "docs/serve.md").read_text()
    for name, field in Settings.model_fields.items():
        assert f"| `{name.upper()}`" in readme, name
        if isinstance(field.default, int | float | str) and field.default != "":
            assert f"`{field.default}`" in readme, name
