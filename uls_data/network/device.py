"""Where a network runs."""

from __future__ import annotations

from typing import Any

import torch

from uls_data.network.plan import ModelError


def usable_device(name: str) -> Any:
    """Device by its name; `auto` takes the GPU where there is one."""
    if name not in ("auto", "cpu", "cuda"):
        raise ModelError(f"device {name!r}: expected auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise ModelError("device cuda: no GPU that this torch can use; take --device cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def graphics_card() -> tuple[str, int] | None:
    """Name and memory (bytes) of the GPU that `auto` takes; None where there is none."""
    if not torch.cuda.is_available():
        return None
    return torch.cuda.get_device_name(), int(torch.cuda.get_device_properties(0).total_memory)
