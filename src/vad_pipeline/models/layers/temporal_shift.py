"""Temporal shift: a share of the channels takes what is at the same place at another time (Lin et al., ICCV 2019)."""

import torch
from torch import Tensor

SEGMENT_SHARE = 16  # one channel in so many moves between segments
FRAME_SHARE = 8  # and so many between frames, each way


def shift_segments(features: Tensor, segments: int) -> Tensor:
    """Of each segment of channels, the first sixteenth takes the next segment's, the last's become 0 (spec 2.2).

    Args:
        features: (n, C, h, w), C a multiple of ``segments``.
        segments: how many; at least one channel of each moves.

    Returns:
        (n, C, h, w).

    >>> import torch
    >>> shift_segments(torch.arange(1.0, 5.0).view(1, 4, 1, 1), segments=2).flatten().tolist()
    [3.0, 2.0, 0.0, 4.0]
    """
    parts = features.unflatten(1, (segments, -1))
    moved = max(1, parts.shape[2] // SEGMENT_SHARE)
    later = torch.cat([parts[:, 1:, :moved], torch.zeros_like(parts[:, :1, :moved])], dim=1)
    return torch.cat([later, parts[:, :, moved:]], dim=2).flatten(1, 2)


def shift_frames(features: Tensor) -> Tensor:
    """An eighth of the channels takes the next frame's, another the last frame's; 0 where there is none.

    Args:
        features: (n, frames, C, h, w), C at least 2; at least one channel moves each way.

    Returns:
        (n, frames, C, h, w).
    """
    moved = max(1, features.shape[2] // FRAME_SHARE)
    none = torch.zeros_like(features[:, :1, :moved])
    later = torch.cat([features[:, 1:, :moved], none], dim=1)
    earlier = torch.cat([none, features[:, :-1, moved : 2 * moved]], dim=1)
    return torch.cat([later, earlier, features[:, :, 2 * moved :]], dim=2)
