"""The optimizer and its schedule."""

import re
from collections import defaultdict

import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel, get_linear_schedule_with_warmup

from stages.train.params import Train

LAYER = re.compile(r"\blayers?\.(\d+)\.")  # in the name of a weight


def adamw(model: PreTrainedModel, recipe: Train) -> torch.optim.Optimizer:
    """AdamW; the lower a layer the slower, as ULMFiT does (https://arxiv.org/abs/1801.06146).

    Biases and normalisation weights are not decayed.
    """
    named = [(name, w) for name, w in model.named_parameters() if w.requires_grad]
    heights = {name: int(found[1]) + 1 for name, _ in named if (found := LAYER.search(name))}
    top = max(heights.values(), default=0) + 1
    groups: dict[tuple[int, bool], list[torch.nn.Parameter]] = defaultdict(list)
    for name, weight in named:
        below_top = top - heights.get(name, 0 if "embedding" in name else top)
        groups[below_top, weight.ndim > 1].append(weight)
    return torch.optim.AdamW(
        [
            {
                "params": weights,
                "lr": recipe.lr * recipe.layer_decay**below_top,
                "weight_decay": recipe.weight_decay if decayed else 0.0,
            }
            for (below_top, decayed), weights in sorted(groups.items(), key=lambda item: item[0])
        ],
        fused=True,
    )


def linear_schedule(optimizer: torch.optim.Optimizer, recipe: Train, steps: int) -> LambdaLR:
    """Let all rates rise over a share of the steps (`warmup`), then fall to nothing."""
    warmup = int(recipe.warmup * steps)
    schedule: LambdaLR = get_linear_schedule_with_warmup(optimizer, warmup, steps)
    return schedule
