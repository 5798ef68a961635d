"""Batch norm folded into the convolution before it, for scoring."""

from copy import deepcopy
from itertools import pairwise
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Network = TypeVar("Network", bound=nn.Module)


def fold_batch_norm(network: Network) -> Network:
    """A copy in evaluation mode whose (transposed) convolutions have absorbed the batch norms that follow them inside
    an ``nn.Sequential``; it computes the same up to rounding."""
    folded = deepcopy(network).eval()
    for block in folded.modules():
        if not isinstance(block, nn.Sequential):
            continue
        for (name, conv), (norm_name, norm) in pairwise(list(block.named_children())):
            if isinstance(norm, nn.BatchNorm2d | nn.BatchNorm3d) and isinstance(
                conv, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d
            ):
                transposed = isinstance(conv, nn.ConvTranspose2d | nn.ConvTranspose3d)
                block._modules[name] = fuse_conv_bn_eval(conv, norm, transpose=transposed)  # type: ignore[type-var]
                block._modules[norm_name] = nn.Identity()
    return folded
