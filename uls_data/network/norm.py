"""Instance norm that stays in the channels-last layout."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as functional


class LayoutNorm(torch.nn.Module):  # type: ignore[misc]
    """An affine instance norm with the same parameters, image by image.

    torch's own copies a feature map out of the channels-last layout and the next convolution
    copies it back. Of a single image, batch norm is the same sum, and knows the layout.
    """

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, images: Any) -> Any:
        """Normalise images, shape (batch, channels, z, y, x)."""
        normed = [
            functional.batch_norm(image, None, None, self.weight, self.bias, True, 0.0, self.eps)
            for image in images.split(1)
        ]
        return normed[0] if len(normed) == 1 else torch.cat(normed)


def keep_layout(network: Any) -> None:
    """Put a LayoutNorm in the place of every instance norm; names of parameters stay."""
    made: dict[Any, LayoutNorm] = {}
    for module in list(network.modules()):
        # A block holds its norm under two names.
        for name, child in module._modules.items():
            if isinstance(child, torch.nn.InstanceNorm3d) and child.affine:
                module._modules[name] = made.setdefault(child, LayoutNorm(child))
