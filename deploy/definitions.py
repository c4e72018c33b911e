"""Hold files to the definitions of Google's APIs that gcloud brings along.

`gcloud ai custom-jobs create` hands on whatever a file says, misspelt or not; here the file is read
as gcloud reads others. deploy.check runs this with gcloud's modules, without those of .venv.
"""

import sys
from pathlib import Path

DEFINED = {
    "vertex-job.yaml": ("aiplatform", "v1", "GoogleCloudAiplatformV1CustomJobSpec"),
    "lifecycle.json": ("storage", "v1", "Bucket.LifecycleValue"),
    "errors.yaml": ("monitoring", "v3", "AlertPolicy"),
    "latency.yaml": ("monitoring", "v3", "AlertPolicy"),
}


def main() -> None:
    """Read files; the first argument is the folder of gcloud's modules."""
    modules, *files = sys.argv[1:]
    sys.path[:0] = [modules, f"{modules}/third_party"]
    from googlecloudsdk.api_lib.util import apis, messages
    from googlecloudsdk.core import yaml

    wrong = False
    for file in files:
        api, version, name = DEFINED[Path(file).name]
        kind = apis.GetMessagesModule(api, version)
        for part in name.split("."):
            kind = getattr(kind, part)
        try:
            messages.DictToMessageWithErrorCheck(yaml.load_path(file), kind)
        except Exception as error:  # one for each kind of mistake, among others AttributeError
            print(f"{file}: {error}")
            wrong = True
    sys.exit(wrong)


if __name__ == "__main__":
    main()
