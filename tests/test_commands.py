"""A module is a command, or names the commands of its package."""

import importlib
import re
import subprocess
import sys

import pytest

from experiments import COMMANDS
from tests.conftest import ROOT

PACKAGES = sorted({path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"})


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_names_its_commands_where_a_module_is_none(
    package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names_commands = importlib.import_module(package)
    monkeypatch.setattr(sys, "argv", ["-m"])  # as Python has it while it looks for a module
    for path in (ROOT / package).rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        module = re.sub(r"\.__(init|main)__$", "", name)
        monkeypatch.setattr(sys, "orig_argv", ["python", "-m", module])
        main = path.with_name("__main__.py") if path.name == "__init__.py" else path
        if main.exists() and 'if __name__ == "__main__":' in main.read_text():
            importlib.reload(names_commands)
        else:
            with pytest.raises(SystemExit, match="2"):
                importlib.reload(names_commands)
            assert f"error: {module} is no command; " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("deploy.__main__", "create the resources that are missing"),
        ("deploy.release.smoke", "--model MODEL"),
        ("monitor.__main__", "python -m monitor review LOGS"),
        ("score.__main__", "python -m score tweets.parquet out/"),
        *((f"experiments.{name}", f"python -m experiments.{name}") for name in COMMANDS),
    ],
)
def test_a_command_prints_its_usage(
    module: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    with pytest.raises(SystemExit, match="0"):
        importlib.import_module(module).main()
    assert words in capsys.readouterr().out


def test_python_asks_the_package_first() -> None:
    command = [sys.executable, "-m", "deploy.train.submit"]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == 2
    assert "the commands are: python -m deploy, python -m deploy.release" in process.stderr
