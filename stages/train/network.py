"""Makes the network to train, and its optimizer."""

import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel
from transformers.utils import logging

from common.errors import InputError
from locked.labels import LABELS
from stages.shared.base_model import WEIGHTS

if TYPE_CHECKING:
    from stages.params import Train

LAYER = re.compile(r"\blayers?\.(\d+)\.")  # in the name of a weight


def make_network(base: Path, recipe: "Train") -> PreTrainedModel:
    """Return the base model in the folder `base`, with a new head for the two labels.

    Raises InputError if its weights are damaged or do not fit its config.json, or it has fewer than
    `recipe.layers` layers.
    """
    logging.set_verbosity_error()  # transformers warns that the base model lacks the head
    logging.disable_progress_bar()
    config = AutoConfig.from_pretrained(
        base, id2label=dict(enumerate(LABELS)), local_files_only=True
    )
    if recipe.layers:  # keep the lowest (Sajjad et al. 2020, https://arxiv.org/abs/2004.03844)
        if recipe.layers > config.num_hidden_layers:
            raise InputError(
                f"train.layers: {recipe.layers}, but the base model has {config.num_hidden_layers}"
            )
        config.num_hidden_layers = recipe.layers
    for name, value in config.to_dict().items():
        if "dropout" in name and isinstance(value, int | float):
            setattr(config, name, recipe.dropout)
    try:
        model, loaded = AutoModelForSequenceClassification.from_pretrained(
            base,
            config=config,
            dtype=torch.float32,
            local_files_only=True,
            attn_implementation="eager",  # faster than fused attention on texts this short
            ignore_mismatched_sizes=True,  # of a head with other labels; the body is checked below
            output_loading_info=True,
        )
    except SafetensorError as error:
        raise InputError(f"{base / WEIGHTS} is damaged: {error}") from error
    body = f"{model.base_model_prefix}."
    wrong = {*loaded["missing_keys"], *(name for name, *_ in loaded["mismatched_keys"])}
    if wrong := {name for name in wrong if name.startswith(body) and ".pooler." not in name}:
        raise InputError(
            f"{base / WEIGHTS} lacks {len(wrong)} of the weights that config.json describes, or "
            f"has them in another size: {min(wrong)}, ..."
        )
    model.get_input_embeddings().requires_grad_(not recipe.freeze_embeddings)
    return model


def make_optimizer(model: PreTrainedModel, recipe: "Train") -> torch.optim.Optimizer:
    """Return AdamW with lower learning rates for lower layers.

    As in ULMFiT (https://arxiv.org/abs/1801.06146). Biases and normalisation weights do not decay.
    """
    trained = [(name, w) for name, w in model.named_parameters() if w.requires_grad]
    layers = {name: int(match[1]) for name, _ in trained if (match := LAYER.search(name))}
    top = max(layers.values(), default=-1) + 2  # the head; 0 is the embeddings
    groups: dict[tuple[int, bool], list[torch.nn.Parameter]] = defaultdict(list)
    for name, weight in trained:
        height = layers[name] + 1 if name in layers else 0 if "embedding" in name else top
        groups[top - height, weight.ndim > 1].append(weight)
    return torch.optim.AdamW(
        [
            {
                "params": weights,
                "lr": recipe.lr * recipe.layer_decay**below_top,
                "weight_decay": recipe.weight_decay if is_decayed else 0.0,
            }
            for (below_top, is_decayed), weights in sorted(groups.items(), key=lambda i: i[0])
        ],
        fused=True,
    )
