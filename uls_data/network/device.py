"""Where a network runs, and with what numbers."""

from __future__ import annotations

from typing import Any, Literal

import torch

from uls_data.network.plan import ModelError

Precision = Literal["auto", "float32", "bfloat16", "float16"]
PRECISIONS: tuple[Precision, ...] = ("auto", "float32", "bfloat16", "float16")


def usable_device(name: str) -> Any:
    """Device by its name; `auto` takes the GPU where there is one."""
    if name not in ("auto", "cpu", "cuda"):
        raise ModelError(f"device {name!r}: expected auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise ModelError("device cuda: no GPU that this torch can use; take --device cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def usable_precision(name: Precision, device: Any) -> str:
    """Precision by its name; `auto` is float32 on a CPU, on a GPU bfloat16 if it has that."""
    if name not in PRECISIONS:
        raise ModelError(f"precision {name!r}: expected one of {', '.join(PRECISIONS)}")
    if name != "auto":
        return name
    if device.type != "cuda":
        return "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


def training_precision(name: Precision, device: Any) -> str:
    """Precision of training by its name, as `usable_precision`; no float16 on a CPU."""
    chosen = usable_precision(name, device)
    if chosen == "float16" and device.type != "cuda":
        raise ModelError("precision float16: training on a CPU takes float32 or bfloat16")
    return chosen


def graphics_card() -> tuple[str, int] | None:
    """Name and memory (bytes) of the GPU that `auto` takes; None where there is none."""
    if not torch.cuda.is_available():
        return None
    return torch.cuda.get_device_name(), int(torch.cuda.get_device_properties(0).total_memory)
