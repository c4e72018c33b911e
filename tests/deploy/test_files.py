"""What no hook of .pre-commit-config.yaml knows of the files that clouds and GitHub read."""

import fnmatch
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from deploy.google import REMOTE_COMMANDS, GoogleProject
from deploy.setup.resources import next_steps
from experiments.promote import ARTIFACT
from tests.conftest import ROOT
from tests.test_images import run

yaml = YAML(typ="safe")
WORKFLOWS = sorted((ROOT / ".github").glob("workflows/*.yml"))
ACTIONS = sorted((ROOT / ".github").glob("actions/*/action.yml"))
JOBS: dict[str, dict[str, Any]] = {
    f"{path.name}: {name}": job
    for path in WORKFLOWS
    for name, job in yaml.load(path)["jobs"].items()
}
BUILD = yaml.load(ROOT / "deploy/release/cloudbuild.yaml")
# The definition of Google's APIs that a file must follow: an API, its version, and a name.
DEFINITIONS = {
    "deploy/release/cloudbuild.yaml": "cloudbuild v1 Build",
    "deploy/release/service.yaml": "run v1 Service",
    "deploy/train/job.yaml": "aiplatform v1 GoogleCloudAiplatformV1CustomJobSpec",
    "deploy/setup/lifecycle.json": "storage v1 Bucket.LifecycleValue",
    "deploy/setup/dropped.yaml": "logging v2 LogMetric",
    "deploy/setup/dashboard.yaml": "monitoring v1 Dashboard",
    "deploy/alerts/*.yaml": "monitoring v3 AlertPolicy",
}
# gcloud's own modules check a file as strictly as gcloud's commands do, without a login.
CHECK = """
import sys
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/third_party"]
from googlecloudsdk.api_lib.util import apis, messages
from googlecloudsdk.core import yaml
for line in sys.argv[2:]:
    path, api, version, name = line.split()
    definition = apis.GetMessagesModule(api, version)
    for part in name.split("."):
        definition = getattr(definition, part)
    try:
        messages.DictToMessageWithErrorCheck(yaml.load_path(path), definition)
    except Exception as error:
        print(path, error)
"""


def test_files_follow_the_definitions_that_gcloud_knows(tmp_path: Path) -> None:
    if not (gcloud := shutil.which("gcloud")):
        pytest.skip("gcloud is not installed")
    paths = [(path, name) for glob, name in DEFINITIONS.items() for path in ROOT.glob(glob)]
    assert len(paths) == len(DEFINITIONS) - 1 + len([*ROOT.glob("deploy/alerts/*")])
    (wrong := tmp_path / "wrong.yaml").write_text("waitfor: [serve]\n")
    lines = [f"{path} {name}" for path, name in [*paths, (wrong, "cloudbuild v1 BuildStep")]]
    # -S: without site-packages, which have other versions of some of gcloud's modules.
    modules = str(Path(gcloud).resolve().parents[1] / "lib")
    output = run(sys.executable, "-S", "-c", CHECK, modules, *lines).stdout
    assert output.startswith(str(wrong))
    assert "waitfor" in output


def test_prometheus_accepts_its_rules() -> None:
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed")
    for command in ("check rules rules.yaml", "test rules rules-test.yaml"):
        run("promtool", *command.split(), cwd=ROOT / "deploy/prometheus")


def test_every_file_is_checked() -> None:
    """A new file for a cloud or GitHub needs a hook, a definition, or a place in this list."""
    exceptions = (
        *("deploy/setup/resources.yaml", "deploy/setup/roles.yaml"),  # only deploy/setup reads them
        *("deploy/accelerate/*", "deploy/prometheus/*", "deploy/grafana/*"),  # not clouds
    )
    hooks = yaml.load(ROOT / ".pre-commit-config.yaml")["repos"][0]["hooks"]
    patterns = [hook["files"] for hook in hooks if "files" in hook]
    patterns += map(fnmatch.translate, (*exceptions, *DEFINITIONS))
    read = r"^(?:(?:score/)?Dockerfile.*|\.github/.*|deploy/.*\.(?:ya?ml|json))$"
    names = re.findall(read, run("git", "ls-files").stdout, re.M)
    assert len(names) > 20
    assert [name for name in names if not any(re.search(p, name) for p in patterns)] == []


def test_a_build_names_existing_steps_substitutions_and_tests() -> None:
    text = (ROOT / "deploy/release/cloudbuild.yaml").read_text()
    ids = [step["id"] for step in BUILD["steps"]]
    assert {name for step in BUILD["steps"] for name in step.get("waitFor", [])} <= {*ids, "-"}
    assert set(re.findall(r"\$\{?(_\w+)", text)) == set(BUILD["substitutions"])
    deselected = re.findall(r"--deselect=(\S+)::(\S+)", text)
    assert len(deselected) == 2
    for path, name in deselected:
        assert f"def {name}(" in (ROOT / path).read_text()


def test_scripts_of_a_build_are_well_written(tmp_path: Path) -> None:
    scripts = [step["args"][-1] for step in BUILD["steps"] if step.get("entrypoint") == "bash"]
    steps = [step for path in ACTIONS for step in yaml.load(path)["runs"]["steps"]]
    scripts += [step["run"] for step in steps if "run" in step]
    for number, script in enumerate(scripts):
        (tmp_path / f"{number}.sh").write_text(f"set -e\n{script}")  # as they are run
    run("shellcheck", "--shell=bash", *map(str, tmp_path.iterdir()))


def text_of(*paths: Path) -> str:
    return "\n".join(path.read_text() for path in paths)


def test_only_a_job_that_logs_in_gets_an_identity() -> None:
    assert "secrets." not in text_of(*WORKFLOWS)
    for path in WORKFLOWS:
        assert yaml.load(path)["permissions"] == {"contents": "read"}
    for name, job in JOBS.items():
        logs_in = any("google-cloud" in step.get("uses", "") for step in job["steps"])
        assert (job.get("permissions", {}).get("id-token") == "write") == logs_in, name
        assert ("vars.GOOGLE_CLOUD_PROJECT != ''" in job.get("if", "")) == logs_in, name


def test_workflows_call_existing_commands() -> None:
    text = text_of(*WORKFLOWS, *ACTIONS, ROOT / ".ci/run")
    tasks = set(re.findall(r"(?:^\s*|run: )make ([\w-]+)", text, re.M))
    assert {"setup", "test", "deploy"} <= tasks
    assert tasks <= set(re.findall(r"^([\w-]+):", text_of(ROOT / "Makefile"), re.M))
    assert set(re.findall(r"python -m deploy (\w+)", text)) == {"images"}
    paths = set(re.findall(r"pytest (\S+)", text))
    assert {"tests/nightly", "tests/test_images.py", "tests/serve"} <= paths
    modules = re.findall(r"python -m (tests\.[\w.]+)", text)
    paths |= {f"{name.replace('.', '/')}.py" for name in modules}
    paths |= set(yaml.load(ROOT / ".github/workflows/images.yml")["on"]["pull_request"]["paths"])
    assert [path for path in paths if not list(ROOT.glob(path))] == []


def test_variables_are_those_that_the_set_up_prints() -> None:
    used = set(re.findall(r"vars\.(\w+)", text_of(*WORKFLOWS))) - {"PIP_EXTRA_INDEX_URL"}
    printed = next_steps(GoogleProject("my-project"), "me/disaster-tweets", "1")
    assert used == set(re.findall(r"gh variable set (\w+)", printed))
    action = text_of(*ACTIONS)
    assert GoogleProject("${{ inputs.project }}").account("deploy") in action
    assert f"gs://{GoogleProject('$PROJECT').bucket}/dvc" in action


def test_the_tag_of_the_stage_prod_deploys() -> None:
    (pattern,) = yaml.load(ROOT / ".github/workflows/deploy.yml")["on"]["push"]["tags"]
    assert fnmatch.fnmatch(f"{ARTIFACT}#prod#12", pattern)
    for other in (f"{ARTIFACT}#dev#1", f"{ARTIFACT}@v0.0.1", f"{ARTIFACT}#prod!#2"):
        assert not fnmatch.fnmatch(other, pattern)


BUCKETS = {
    "docs/sharing.md": "YOUR-BUCKET",
    "docs/cloud.md": "YOUR-PROJECT-disaster-tweets",
    "deploy/release/cloudbuild.yaml": "$PROJECT_ID-disaster-tweets",
    "deploy/setup/resources.yaml": "$bucket",
    ".github/actions/google-cloud/action.yml": "$PROJECT-disaster-tweets",
}


@pytest.mark.parametrize("file", BUCKETS)
def test_a_bucket_is_named_alike_everywhere(file: str) -> None:
    text = text_of(ROOT / file).replace('"', "")
    assert [line for line in REMOTE_COMMANDS if line.format(bucket=BUCKETS[file]) not in text] == []
