"""Contact sheets: many clips at a glance."""

from collections.abc import Mapping

import cv2
import numpy as np


def contact_sheet(clips: Mapping[str, np.ndarray], columns: int = 6, tile_width: int = 160) -> np.ndarray:
    """One line of tiles per clip, its frames spread evenly over the clip, the clip's name above.

    Args:
        clips: name -> frames (T, H, W, 1|3) uint8, masks (T, H, W) bool, or flow (T, H, W, 2) in pixels.
        columns: tiles in a line.
        tile_width: pixels.

    Returns:
        RGB image (height, width, 3) uint8.
    """
    lines = []
    for name, clip in clips.items():
        indices = np.linspace(0, len(clip) - 1, columns).round().astype(int)
        tiles = [_tile(displayable(clip[i]), f"{i}", tile_width) for i in indices]
        title = np.full((18, columns * tile_width, 3), 255, np.uint8)
        text = f"{name}   {len(clip)} frames, {clip.shape[2]}x{clip.shape[1]}"
        cv2.putText(title, text, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
        lines += [title, np.hstack(tiles)]
    if not lines:
        return np.full((18, tile_width, 3), 255, np.uint8)
    return np.vstack(lines)


def displayable(frame: np.ndarray) -> np.ndarray:
    """Any stored row as an RGB image (H, W, 3) uint8."""
    if frame.dtype == bool:
        frame = frame.astype(np.uint8)[..., None] * 255
    if frame.shape[-1] == 2:
        return flow_image(frame)
    return np.repeat(frame, 3, axis=-1) if frame.shape[-1] == 1 else np.asarray(frame)


def flow_image(flow: np.ndarray, full_scale: float | None = None) -> np.ndarray:
    """Optical flow (H, W, 2) in pixels as an HSV colour wheel: hue is direction, value is speed.

    Args:
        flow: displacement (u, v) in pixels.
        full_scale: the speed shown at full brightness; by default the frame's fastest pixel, at least 1 px.
    """
    magnitude, angle = cv2.cartToPolar(
        flow[..., 0].astype(np.float32), flow[..., 1].astype(np.float32), angleInDegrees=True
    )
    scale = full_scale or max(1.0, float(magnitude.max()))
    value = np.clip(magnitude / scale, 0, 1) * 255
    hsv = np.stack([angle / 2, np.full_like(angle, 255), value], axis=-1).astype(np.uint8)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def _tile(image: np.ndarray, label: str, width: int) -> np.ndarray:
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    tile = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    cv2.putText(tile, label, (3, height - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.35, (255, 255, 0), 1, cv2.LINE_AA)
    tile[:, -1] = 255
    return tile
