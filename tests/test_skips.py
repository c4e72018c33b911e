import pytest

from tests.skips import REASONS, is_failure

pytest_plugins = ["pytester"]
BEAM = "Skipped: python has no apache_beam: BEAM_PYTHON names one that has"
BROWSER = "Skipped: none of chromium, google-chrome is installed"


@pytest.mark.parametrize(
    ("text", "environment", "fails"),
    [
        (BEAM, {}, False),
        (BEAM, {"CI": "true"}, False),
        (BEAM, {"CI": "true", "NO_SKIPS": "true"}, True),
        (BROWSER, {}, False),
        (BROWSER, {"CI": "true"}, True),
        ("Skipped: a new reason", {}, False),
        ("Skipped: a new reason", {"CI": "true"}, True),
    ],
)
def test_ci_fails_on_a_skip_that_it_does_not_expect(
    text: str, environment: dict[str, str], fails: bool
) -> None:
    assert is_failure(text, environment) == fails


@pytest.mark.parametrize("ci", [True, False])
def test_pytest_obeys(ci: bool, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CI", "NO_SKIPS"):
        monkeypatch.delenv(name, raising=False)
    if ci:
        monkeypatch.setenv("CI", "true")
    pytester.makepyfile(
        "import pytest\n"
        "def test_a(): pytest.skip('a new reason')\n"
        "def test_b(): pytest.skip('no apache_beam')\n"
        "@pytest.mark.xfail\ndef test_c(): assert False\n"
    )
    outcome = pytester.runpytest_inprocess("-p", "tests.skips", "-p", "no:cacheprovider")
    outcome.assert_outcomes(failed=int(ci), skipped=2 - ci, xfailed=1)
    lines = [f"1 skipped: {REASONS[0].remedy}"]
    outcome.stdout.fnmatch_lines([*lines, *([] if ci else ["1 skipped: *a new reason"])][::-1])
