"""Settings come from the environment, and a bad one is named."""

from pathlib import Path

import pytest

from serve.settings import BadSettingError, Settings, load


def test_vertex_names_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "9001")
    assert load().port == 9001
    monkeypatch.setenv("AIP_HTTP_PORT", "9002")
    assert load().port == 9002


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("ENGINE", "", None),
        ("PORT", " ", 8080),
        ("LOG_LEVEL", "INFO", "info"),
        ("HOST", "x86_64-conda-linux-gnu", "127.0.0.1"),
        ("HOST", "aarch64-conda-linux-gnu", "127.0.0.1"),
        ("HOST", "arm64-apple-darwin20.0.0", "127.0.0.1"),
        ("HOST", '"0.0.0.0"', "0.0.0.0"),  # noqa: S104
        ("PORT", "'9001'", 9001),
        ("MODEL_URI", "\u201cgs://models/best\u201d", "gs://models/best"),
        ("PREDICT_ROUTE", "/predict/", "/predict"),
        ("HEALTH_ROUTE", "/healthz//", "/healthz"),
        ("ROOT_PATH", "/tweets/", "/tweets"),
        ("ROOT_PATH", "/", ""),
        (
            "CORS_ORIGINS",
            "https://a.example/, 'https://b.example'",
            ("https://a.example", "https://b.example"),
        ),
    ],
)
def test_what_surrounds_a_value_is_taken_off(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: object
) -> None:
    monkeypatch.setenv(name, value)
    assert getattr(load(), name.lower()) == expected


@pytest.mark.parametrize("value", ['"{}"', "'{}'", '"{}",', " {} ,", "\ufeff{}\n", '"{}"\r\n'])
def test_a_key_is_bare(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("API_KEYS", value.format("a" * 16))
    monkeypatch.setenv("ADMIN_KEY", value.rstrip(" ,").format("b" * 16))
    assert [key.get_secret_value() for key in load().api_keys] == ["a" * 16]
    admin = load().admin_key
    assert admin
    assert admin.get_secret_value() == "b" * 16


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "80"),
        ("AIP_HTTP_PORT", "0"),
        ("HOST", "here"),
        ("HOST", "conda-linux-gnu.example"),
        ("PREDICT_ROUTE", "predict"),
        ("WORKERS", "0"),
        ("THREADS", "-1"),
        ("MAX_QUEUE", "many"),
        ("REQUEST_TIMEOUT", "0"),
        ("API_KEYS", "short"),
        ("ADMIN_KEY", "short"),
        ("CORS_ORIGINS", "*"),
        ("API_KEYS", ""),
        ("API_KEYS", '"",'),
        ("ADMIN_KEY", " "),
        ("API_KEYS", "a key with blanks in it"),
        ("API_KEYS", "\u201ca-key-that-lost-its-end"),
        ("ADMIN_KEY", '"a-key-that-lost-its-end'),
        ("BODY_TIMEOUT", "0"),
        ("PREDICT_ROUTE", "/{text}"),
        ("HEALTH_ROUTE", "/"),
        ("ROOT_PATH", "tweets/"),
        ("LOG_LEVEL", "loud"),
        ("SECRETS_DIR", "/nowhere"),
    ],
)
def test_a_bad_one_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BadSettingError, match=rf"\b{name}[: ]") as error:
        load()
    assert "KEY" not in name or len(value) < 6 or value not in str(error.value)


def test_secrets_may_lie_in_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "ADMIN_KEY").write_text("\ufeffa-secret-of-some-length\r\n", encoding="utf-8")
    (tmp_path / "api_keys").write_text("\ufeffthe-first-of-two-keys,\nthe-second-of-two-keys\n")
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path))
    admin = load().admin_key
    assert admin
    assert admin.get_secret_value() == "a-secret-of-some-length"
    keys = [key.get_secret_value() for key in load().api_keys]
    assert keys == ["the-first-of-two-keys", "the-second-of-two-keys"]
    assert "secret" not in repr(load())


def test_every_setting_is_documented() -> None:
    readme = (Path(__file__).parents[2] / "docs/serve.md").read_text()
    for name, field in Settings.model_fields.items():
        assert f"| `{name.upper()}`" in readme, name
        if isinstance(field.default, int | float | str) and field.default != "":
            assert f"`{field.default}`" in readme, name
