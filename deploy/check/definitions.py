"""Hold files to a definition of Google's APIs that gcloud brings along.

`gcloud ai custom-jobs create` hands on whatever a file says, misspelt or not; here the file is read
as gcloud reads others. checks.yaml runs this with gcloud's modules, without those of .venv.
"""

import sys


def main() -> None:
    """Read files, after the folder of gcloud's modules, an API, its version, and a definition."""
    modules, api, version, name, *files = sys.argv[1:]
    sys.path[:0] = [modules, f"{modules}/third_party"]
    from googlecloudsdk.api_lib.util import apis, messages
    from googlecloudsdk.core import yaml

    definition = apis.GetMessagesModule(api, version)
    for part in name.split("."):
        definition = getattr(definition, part)
    wrong = False
    for file in files:
        try:
            messages.DictToMessageWithErrorCheck(yaml.load_path(file), definition)
        except Exception as error:  # one for each kind of mistake, among others AttributeError
            print(f"{file}: {error}")
            wrong = True
    sys.exit(wrong)


if __name__ == "__main__":
    main()
