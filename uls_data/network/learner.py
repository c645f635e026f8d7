"""One step of training: SGD as nnU-Net does it, in mixed precision on a GPU or if asked for."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch

from uls_data.ids import draw
from uls_data.network.architecture import build_network, deep_logits
from uls_data.network.augmentation import Augmentation
from uls_data.network.checkpoint import load_weights
from uls_data.network.device import Precision, training_precision
from uls_data.network.loss import deep_loss
from uls_data.network.norm import keep_layout
from uls_data.network.plan import Intensities, ModelError, Plan
from uls_data.network.voxels import LESION, SUPERVISED, Region, channels_of


class Learner:
    """A network and its optimiser.

    Parameters
    ----------
    plan : Plan
        With intensities as numbers.
    device : torch.device
    seed : int
        Of the first weights and of the augmentation.
    steps : int
        Length of the schedule.
    rate : float
        First learning rate.
    weights : dict, optional
        State of a network to start from.
    precision : str
        Of the convolutions; see `training_precision`. Weights and loss are float32.
    """

    def __init__(
        self,
        plan: Plan,
        device: Any,
        seed: int,
        steps: int,
        rate: float,
        weights: dict[str, Any] | None = None,
        precision: Precision = "auto",
    ) -> None:
        if not isinstance(plan.intensities, Intensities):
            raise ModelError(f"plan {plan.name}: no intensities yet")
        self.plan, self.intensities, self.device = plan, plan.intensities, device
        self.seed, self.steps, self.rate = seed, steps, rate
        training = plan.training
        self.network = build_network(plan.architecture, seed, plan.channels)
        if weights is not None:
            load_weights(self.network, weights, "checkpoint to start from")
        self._on_gpu = device.type == "cuda"
        if self._on_gpu:
            keep_layout(self.network)
        torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark or self._on_gpu
        # Convolutions are a fifth faster in this layout on a CPU too.
        self.network.to(device, memory_format=torch.channels_last_3d).train()
        self.optimizer = torch.optim.SGD(
            self.network.parameters(),
            rate,
            momentum=training.momentum,
            weight_decay=training.weight_decay,
            nesterov=training.momentum > 0,
        )
        chosen = training_precision(precision, device)
        self._precision = None if chosen == "float32" else getattr(torch, chosen)
        # bfloat16 has float32's range; float16 needs its losses scaled.
        self.scaler = torch.amp.GradScaler("cuda") if chosen == "float16" else None
        self._augmentation: Augmentation | None = None
        if training.augment:
            also = {} if plan.prompt is None else {"prompt": "bilinear"}
            self._augmentation = Augmentation(also)

    def resume(self, checkpoint: dict[str, Any]) -> None:
        """Take momentum and loss scale over from a checkpoint of the same training."""
        self.optimizer.load_state_dict(checkpoint["optimizer_state"])
        if self.scaler is not None and checkpoint["grad_scaler_state"] is not None:
            self.scaler.load_state_dict(checkpoint["grad_scaler_state"])

    def learn(self, batch: list[Region], step: int) -> float:
        """Do one step and return its loss.

        Raises
        ------
        ModelError
            The loss is not finite, or the device's memory is too small.
        """
        try:
            return self._learn(batch, step)
        except torch.OutOfMemoryError as error:
            raise ModelError(
                f"out of memory on {self.device} with batches of "
                f"{self.plan.training.batch_size}; lower batch_size or crop in a plan of your own"
            ) from error

    def _learn(self, batch: list[Region], step: int) -> float:
        training = self.plan.training
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * (1 - step / self.steps) ** training.poly_exponent
        images, lesion, known = self._tensors(batch, step)
        self.optimizer.zero_grad(set_to_none=True)
        self.network.decoder.deep_supervision = True
        half = self._precision
        with torch.autocast(self.device.type, half) if half is not None else nullcontext():
            outputs = deep_logits(self.network, self.plan, images)
        self.network.decoder.deep_supervision = False
        loss = deep_loss(outputs, lesion, known)
        # A scaler skips such a step and lowers its scale.
        if self.scaler is None and not bool(torch.isfinite(loss)):
            raise ModelError(
                f"step {step}: the loss is not finite; lower learning_rate in the plan"
            )
        if self.scaler is None:
            loss.backward()
            self._clip()
            self.optimizer.step()
        else:
            self.scaler.scale(loss).backward()
            self.scaler.unscale_(self.optimizer)
            self._clip()
            self.scaler.step(self.optimizer)
            self.scaler.update()
        return float(loss.detach())

    def _clip(self) -> None:
        norm = self.plan.training.gradient_norm
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), norm)

    def _tensors(self, batch: list[Region], step: int) -> tuple[Any, Any, Any]:
        """Images, lesion and known voxels, each (batch, channels, z, y, x) on the device."""
        examples = []
        for slot, region in enumerate(batch):
            marks = torch.from_numpy(region.marks)[None].to(self.device)
            image = torch.from_numpy(channels_of(region, self.intensities))
            told = 0 if region.prompt is None else len(region.prompt)
            image, prompt = image.to(self.device).split([len(image) - told, told])
            example = {
                "image": image,
                "lesion": ((marks & LESION) != 0).float(),
                "known": ((marks & SUPERVISED) != 0).float(),
            }
            if told:
                example["prompt"] = prompt
            if self._augmentation is not None:
                example = self._augmentation(
                    example, draw(1 << 32, self.seed, "augment", step, slot)
                )
            if told:
                example["image"] = torch.cat([example["image"], example.pop("prompt")])
            examples.append(example)
        images, lesion, known = (
            torch.stack([example[name] for example in examples])
            for name in ("image", "lesion", "known")
        )
        return images, lesion, known
