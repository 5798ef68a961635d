"""What is made of the errors of frames: PSNR, error maps, and how bad the worst place in a map is."""

import torch
import torch.nn.functional as F
from torch import Tensor

from vad_pipeline.evaluation.terms import Term

CELLS = 5  # side of a place in cells of a map; 20 pixels of the frame

# Beside a frame's mean error, which a small thing in a large picture hardly moves: what a live camera can compare.
WORST_PLACE = Term(higher_is_anomalous=True, meaning=f"highest mean of {CELLS}x{CELLS} cells of the error map")


def error_map(error: Tensor) -> Tensor:
    """Errors (n, C, H, W) averaged over channels and 4x4 pixels, (n, H/4, W/4)."""
    return F.avg_pool2d(error.mean(1, keepdim=True), 4)[:, 0]


def psnr(error: Tensor) -> Tensor:
    """Squared errors of images in [0, 1], (n, C, H, W), as PSNR in dB, (n,); at most 100 (spec 1.3)."""
    return -10 * torch.log10(error.flatten(1).mean(1).clamp_min(1e-10))


def worst_place(maps: Tensor) -> Tensor:
    """The highest mean of 5x5 neighbouring cells, fewer where a side has fewer: maps (n, h, w) to (n,).

    >>> import torch
    >>> worst_place(torch.eye(10)[None]).tolist()
    [0.20000000298023224]
    """
    size = min(CELLS, maps.shape[1]), min(CELLS, maps.shape[2])
    return F.avg_pool2d(maps[:, None], size, stride=1).flatten(1).amax(1)
