"""Inception v3 (Szegedy et al. 2015, "Rethinking the Inception Architecture for Computer Vision"), for inference.

Parameters have the names of torchvision's `inception_v3`, which timm shares, so that their checkpoints load; the
auxiliary classifier is left out, since it is used in training only. torchvision itself cannot be imported beside a
CPU torch: its wheels need CUDA's libraries.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.nn import functional

Size: TypeAlias = int | tuple[int, int]
Width: TypeAlias = Callable[[int], int]

SMALLEST_SIDE = 75
"""Smaller pictures vanish in the strides."""
_LEAST_CHANNELS = 4


class Convolution(nn.Module):
    """Convolution without bias, batch normalisation, ReLU. Odd kernels keep the size unless `stride` or `is_valid`."""

    def __init__(self, given: int, made: int, kernel: Size, *, stride: int = 1, is_valid: bool = False) -> None:
        super().__init__()
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (0, 0) if is_valid or stride > 1 else (sides[0] // 2, sides[1] // 2)
        self.conv = nn.Conv2d(given, made, sides, stride=stride, padding=padding, bias=False)
        self.bn = nn.BatchNorm2d(made, eps=0.001)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """FP32 [batch, given, h, w] -> FP32 [batch, made, h', w']."""
        return functional.relu(self.bn(self.conv(x)))


def _smoothed(x: torch.Tensor) -> torch.Tensor:
    return functional.avg_pool2d(x, kernel_size=3, stride=1, padding=1)


def _halved(x: torch.Tensor) -> torch.Tensor:
    return functional.max_pool2d(x, kernel_size=3, stride=2)


class BlockA(nn.Module):
    """Figure 5 of the paper: 5x5 beside two 3x3, at 35x35."""

    def __init__(self, given: int, pooled: int, width: Width) -> None:
        super().__init__()
        self.branch1x1 = Convolution(given, width(64), 1)
        self.branch5x5_1 = Convolution(given, width(48), 1)
        self.branch5x5_2 = Convolution(width(48), width(64), 5)
        self.branch3x3dbl_1 = Convolution(given, width(64), 1)
        self.branch3x3dbl_2 = Convolution(width(64), width(96), 3)
        self.branch3x3dbl_3 = Convolution(width(96), width(96), 3)
        self.branch_pool = Convolution(given, width(pooled), 1)
        self.made = 2 * width(64) + width(96) + width(pooled)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Same height and width."""
        five = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, double, self.branch_pool(_smoothed(x))], 1)


class BlockB(nn.Module):
    """Figure 10: from 35x35 to 17x17."""

    def __init__(self, given: int, width: Width) -> None:
        super().__init__()
        self.branch3x3 = Convolution(given, width(384), 3, stride=2)
        self.branch3x3dbl_1 = Convolution(given, width(64), 1)
        self.branch3x3dbl_2 = Convolution(width(64), width(96), 3)
        self.branch3x3dbl_3 = Convolution(width(96), width(96), 3, stride=2)
        self.made = width(384) + width(96) + given

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Half the height and width."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, _halved(x)], 1)


class BlockC(nn.Module):
    """Figure 6: 7x7 as 1x7 and 7x1, once and twice, at 17x17."""

    def __init__(self, given: int, inner: int, width: Width) -> None:
        super().__init__()
        between, made = width(inner), width(192)
        self.branch1x1 = Convolution(given, made, 1)
        self.branch7x7_1 = Convolution(given, between, 1)
        self.branch7x7_2 = Convolution(between, between, (1, 7))
        self.branch7x7_3 = Convolution(between, made, (7, 1))
        self.branch7x7dbl_1 = Convolution(given, between, 1)
        self.branch7x7dbl_2 = Convolution(between, between, (7, 1))
        self.branch7x7dbl_3 = Convolution(between, between, (1, 7))
        self.branch7x7dbl_4 = Convolution(between, between, (7, 1))
        self.branch7x7dbl_5 = Convolution(between, made, (1, 7))
        self.branch_pool = Convolution(given, made, 1)
        self.made = 4 * made

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Same height and width."""
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), seven, double, self.branch_pool(_smoothed(x))], 1)


class BlockD(nn.Module):
    """From 17x17 to 8x8."""

    def __init__(self, given: int, width: Width) -> None:
        super().__init__()
        inner = width(192)
        self.branch3x3_1 = Convolution(given, inner, 1)
        self.branch3x3_2 = Convolution(inner, width(320), 3, stride=2)
        self.branch7x7x3_1 = Convolution(given, inner, 1)
        self.branch7x7x3_2 = Convolution(inner, inner, (1, 7))
        self.branch7x7x3_3 = Convolution(inner, inner, (7, 1))
        self.branch7x7x3_4 = Convolution(inner, inner, 3, stride=2)
        self.made = width(320) + inner + given

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Half the height and width."""
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([three, seven, _halved(x)], 1)


class BlockE(nn.Module):
    """Figure 7: 3x3 spread out into 1x3 beside 3x1, at 8x8."""

    def __init__(self, given: int, width: Width) -> None:
        super().__init__()
        inner = width(384)
        self.branch1x1 = Convolution(given, width(320), 1)
        self.branch3x3_1 = Convolution(given, inner, 1)
        self.branch3x3_2a = Convolution(inner, inner, (1, 3))
        self.branch3x3_2b = Convolution(inner, inner, (3, 1))
        self.branch3x3dbl_1 = Convolution(given, width(448), 1)
        self.branch3x3dbl_2 = Convolution(width(448), inner, 3)
        self.branch3x3dbl_3a = Convolution(inner, inner, (1, 3))
        self.branch3x3dbl_3b = Convolution(inner, inner, (3, 1))
        self.branch_pool = Convolution(given, width(192), 1)
        self.made = width(320) + 4 * inner + width(192)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Same height and width."""
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        spread = [self.branch3x3_2a(three), self.branch3x3_2b(three)]
        spread += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)]
        return torch.cat([self.branch1x1(x), *spread, self.branch_pool(_smoothed(x))], 1)


class InceptionV3(nn.Module):
    """FP32 [batch, 3, side, side] of pixels between -1 and 1 -> logits FP32 [batch, classes].

    `width` scales every number of channels: 1 is the paper's network, 1/16 one for tests.
    """

    def __init__(self, classes: int = 1000, width: float = 1.0) -> None:
        super().__init__()

        def scaled(channels: int) -> int:
            return max(_LEAST_CHANNELS, round(channels * width))

        self.Conv2d_1a_3x3 = Convolution(3, scaled(32), 3, stride=2)
        self.Conv2d_2a_3x3 = Convolution(scaled(32), scaled(32), 3, is_valid=True)
        self.Conv2d_2b_3x3 = Convolution(scaled(32), scaled(64), 3)
        self.Conv2d_3b_1x1 = Convolution(scaled(64), scaled(80), 1)
        self.Conv2d_4a_3x3 = Convolution(scaled(80), scaled(192), 3, is_valid=True)
        self.Mixed_5b = BlockA(scaled(192), 32, scaled)
        self.Mixed_5c = BlockA(self.Mixed_5b.made, 64, scaled)
        self.Mixed_5d = BlockA(self.Mixed_5c.made, 64, scaled)
        self.Mixed_6a = BlockB(self.Mixed_5d.made, scaled)
        self.Mixed_6b = BlockC(self.Mixed_6a.made, 128, scaled)
        self.Mixed_6c = BlockC(self.Mixed_6b.made, 160, scaled)
        self.Mixed_6d = BlockC(self.Mixed_6c.made, 160, scaled)
        self.Mixed_6e = BlockC(self.Mixed_6d.made, 192, scaled)
        self.Mixed_7a = BlockD(self.Mixed_6e.made, scaled)
        self.Mixed_7b = BlockE(self.Mixed_7a.made, scaled)
        self.Mixed_7c = BlockE(self.Mixed_7b.made, scaled)
        self.fc = nn.Linear(self.Mixed_7c.made, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Classify."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(_halved(x)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(_halved(x))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        logits: torch.Tensor = self.fc(x.mean((2, 3)))
        return logits


def random_weights(module: nn.Module, seed: int) -> nn.Module:
    """Fill any network of convolutions and batch normalisations so that its logits vary with the picture.

    Freshly initialised, it would give logits that hardly differ, or explode: parity with those would prove nothing.
    """
    source: Any = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for each in module.modules():
            if isinstance(each, nn.Conv2d):
                inputs = each.weight[0].numel()
                each.weight.normal_(0, (2 / inputs) ** 0.5, generator=source)
                if each.bias is not None:
                    each.bias.normal_(0, 0.1, generator=source)
            elif isinstance(each, nn.BatchNorm2d):
                each.weight.uniform_(0.7, 1.3, generator=source)
                each.bias.normal_(0, 0.1, generator=source)
                assert each.running_mean is not None, "batch norm without statistics. This is a bug."
                assert each.running_var is not None, "batch norm without statistics. This is a bug."
                each.running_mean.normal_(0, 0.1, generator=source)
                each.running_var.uniform_(0.7, 1.3, generator=source)
            elif isinstance(each, nn.Linear):
                each.weight.normal_(0, 3 / each.in_features**0.5, generator=source)
                each.bias.normal_(0, 0.1, generator=source)
    return module
