"""Stored pixels as networks read them, and back."""

import cv2
import numpy as np
import torch


def scale_frames(frames: torch.Tensor) -> torch.Tensor:
    """Frames uint8 (..., H, W, C) in [0, 255] to float32 (..., C, H, W) in [-1, 1] (spec 1.1).

    The result keeps the stored memory order, which is channels-last to convolutions.

    >>> scale_frames(torch.tensor([[[[0], [255]]]], dtype=torch.uint8)).shape
    torch.Size([1, 1, 1, 2])
    """
    if frames.device.type == "cpu":
        scaled = torch.empty(frames.shape)
        # one pass over the pixels, where cast, scale and shift in torch would be two or three
        cv2.LUT(_rows(frames.contiguous().numpy()), _SCALED, dst=_rows(scaled.numpy()))
    else:
        scaled = frames.to(torch.float32) / 127.5 - 1
    return scaled.movedim(-1, -3)


_SCALED = (np.arange(256) / 127.5 - 1).astype(np.float32)


def _rows(pixels: np.ndarray) -> np.ndarray:
    """Pixels (..., H, W, C) as one picture (N, W * C) in the same memory, which OpenCV shares among its threads."""
    return pixels.reshape(-1, pixels.shape[-1] * pixels.shape[-2])


def padded(images: torch.Tensor, side: int) -> torch.Tensor:
    """Images (n, C, H, W) in the middle of squares of zeros, (n, C, side, side)."""
    height, width = images.shape[-2:]
    top, left = (side - height) // 2, (side - width) // 2
    return torch.nn.functional.pad(images, (left, side - width - left, top, side - height - top))


def unpadded(images: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The inverse of ``padded``."""
    top, left = ((side - size) // 2 for side, size in zip(images.shape[-2:], (height, width), strict=True))
    return images[..., top : top + height, left : left + width]


def stored_frame(image: torch.Tensor) -> np.ndarray:
    """An image (C, H, W) in [-1, 1] as frames are stored, uint8 (H, W, C): the inverse of ``scale_frames``.

    >>> stored_frame(torch.tensor([[[-1.0, 1.0]]])).tolist()
    [[[0], [255]]]
    """
    return ((image + 1) * 127.5).round().clamp(0, 255).byte().movedim(0, -1).cpu().numpy()
