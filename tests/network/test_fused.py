"""The fused forward pass gives the plain margin; on a GPU, or by Triton's interpreter."""

import os
from typing import Any

import pytest
import torch

from uls_data.network import fused
from uls_data.network.architecture import build_network
from uls_data.network.plan import load_plan

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
needs_triton = pytest.mark.skipif(
    fused.triton is None or (DEVICE == "cpu" and os.environ.get("TRITON_INTERPRET") != "1"),
    reason="needs a GPU, or triton and TRITON_INTERPRET=1",
)


def network_of(**changes: Any) -> Any:
    plan = load_plan("baseline").architecture
    architecture = plan.model_copy(
        update={
            "features": (8, 12, 16, 24, 24),
            "strides": (*plan.strides[:4], (1, 2, 2)),
            "kernels": plan.kernels[:5],
            "blocks": (1, 2, 1, 1, 2),
            "decoder_convs": (1, 2, 1, 1),
            **changes,
        }
    )
    network = build_network(architecture, 0).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weights in network.named_parameters():
            if "norm" in name or "bias" in name:
                weights.add_(0.3 * torch.randn(weights.shape))
    return network


@needs_triton
@pytest.mark.parametrize("size", [(16, 32, 48), (16, 48, 32)])
def test_the_margin_is_that_of_the_plain_network(size: tuple[int, ...]) -> None:
    torch.backends.cudnn.allow_tf32 = False
    network = network_of().to(DEVICE)
    image = torch.randn(1, 1, *size).to(DEVICE)
    with torch.inference_mode():
        logits = network(image)
        expected = logits[:, 1] - logits[:, 0]
        network.to(memory_format=torch.channels_last_3d)
        margin = fused.fused_margin(network)
        assert margin is not None
        found = margin(image.to(memory_format=torch.channels_last_3d))
        assert torch.equal(found, margin(image))
    assert found.shape == expected.shape
    assert (found - expected).norm() < 1e-4 * expected.norm()
    if DEVICE == "cuda":
        replayed = fused.Replayed(margin)
        with torch.inference_mode():
            assert torch.equal(replayed(image), found)
            other = replayed(image + 1)
            assert torch.equal(replayed(image), found)
            assert torch.equal(replayed(image + 1), other)


def test_other_networks_are_left_to_torch() -> None:
    assert fused.fused_margin(network_of(kind="plain")) is None
