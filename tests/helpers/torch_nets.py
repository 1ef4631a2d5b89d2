"""Small PyTorch networks. `orilla import helpers.torch_nets:Net` builds them in a separate process."""

from __future__ import annotations

from pathlib import Path

import torch


class Net(torch.nn.Module):
    """An image classifier: convolution, batch normalisation, dropout, dense layer, softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 4, 3, stride=2)
        self.normalisation = torch.nn.BatchNorm2d(4)
        self.dropout = torch.nn.Dropout(0.5)
        self.dense = torch.nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the probabilities of the classes, `[n,3]`."""
        features = torch.relu(self.normalisation(self.convolution(x)))
        return torch.softmax(self.dense(self.dropout(features.mean((2, 3)))), -1)


class Cell(torch.nn.Module):
    """A network with two inputs and two outputs."""

    def forward(self, x: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the sum and the product of both inputs."""
        return x + state, x * state


def cell() -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    """Return a network with an example of its inputs."""
    return Cell(), (torch.zeros(1, 5), torch.zeros(1, 5))


def number() -> int:
    """Return an object that is not a network."""
    return 3


def torchvision_net(name: str) -> torch.nn.Module:
    """Return a torchvision network with random weights."""
    try:
        import torchvision
    except RuntimeError:
        # Torchvision may lack its compiled operators next to a CPU build of torch. Classifiers do not need them.
        import sys

        for operator in ("nms", "qnms"):
            torch.library.define(
                f"torchvision::{operator}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            )
        for module in [module for module in sys.modules if module.startswith("torchvision")]:
            del sys.modules[module]
        import torchvision
    torch.manual_seed(0)
    return torchvision.models.get_model(name, weights=None)


def mobilenet() -> torch.nn.Module:
    """Return MobileNetV3 with random weights."""
    return torchvision_net("mobilenet_v3_small")


def resnet() -> torch.nn.Module:
    """Return ResNet-18 with random weights."""
    return torchvision_net("resnet18")


def segmenter() -> torch.nn.Module:
    """Return a segmentation network with random weights. Its result is a dictionary."""
    torchvision_net("resnet18")
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    torch.manual_seed(0)
    return lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3)


def save(net: torch.nn.Module, path: Path, *shape: int, dynamic: bool = False) -> Path:
    """Write a `.pt2` file. With `dynamic`, height, width and the number of samples are not fixed."""
    axis = torch.export.Dim
    shapes = {"dynamic_shapes": ({0: axis("n"), 2: axis.AUTO, 3: axis.AUTO},)} if dynamic else {}
    torch.export.save(torch.export.export(net, (torch.zeros(*shape),), **shapes), path)
    return path
