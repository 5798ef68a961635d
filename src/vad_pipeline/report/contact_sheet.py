"""Contact sheets: many clips at a glance."""

from collections.abc import Mapping

import cv2
import numpy as np

from vad_pipeline.flow.representation import colour_wheel, hsv_picture

FLOW_SCALE = 2.0  # pixels a frame at which a flow's colour is full in pictures


def contact_sheet(clips: Mapping[str, np.ndarray], columns: int = 6, tile_width: int = 160) -> np.ndarray:
    """One line of tiles per clip, its frames spread evenly over the clip, the clip's name above.

    Args:
        clips: name -> frames (T, H, W, 1|3) uint8, masks (T, H, W) bool, flow (T, H, W, 2) in pixels, error maps
            (T, H, W) of floats, bright where the clip's are highest, or features (T, D), which are one picture: a
            column per row of the table, each feature from its lowest to its highest value.
        columns: tiles in a line.
        tile_width: pixels.

    Returns:
        RGB image (height, width, 3) uint8.
    """
    lines = []
    if any(clip.ndim == 4 and clip.shape[-1] == 2 for clip in clips.values()):
        lines.append(_legend(columns * tile_width))
    for name, clip in clips.items():
        if not len(clip):
            continue
        if clip.ndim == 2:
            tiles = [_table(clip, columns * tile_width)]
            text = f"{name}   {len(clip)} frames, {clip.shape[1]} features"
        else:
            indices = np.linspace(0, len(clip) - 1, columns).round().astype(int)
            rows = clip[indices]
            if clip.ndim == 3 and clip.dtype.kind == "f":
                rows = _heat(rows, *_range(rows))
            tiles = [_tile(displayable(row), f"{i}", tile_width) for i, row in zip(indices, rows, strict=True)]
            text = f"{name}   {len(clip)} frames, {clip.shape[2]}x{clip.shape[1]}"
        title = np.full((18, columns * tile_width, 3), 255, np.uint8)
        text = text.encode("ascii", "backslashreplace").decode()  # OpenCV's font has nothing else
        cv2.putText(title, text, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
        lines += [title, np.hstack(tiles)]
    if not lines:
        return np.full((18, tile_width, 3), 255, np.uint8)
    return np.vstack(lines)


def displayable(row: np.ndarray, full_scale: float = FLOW_SCALE) -> np.ndarray:
    """Any stored row as an RGB image (H, W, 3) uint8; flow (H, W, 2) in the colours of ``colour_wheel``, whose rim
    stands for ``full_scale`` pixels; an error map (H, W) from its lowest value to its highest."""
    if row.dtype == bool:
        row = row.astype(np.uint8)[..., None] * 255
    elif row.ndim == 2 and row.dtype.kind == "f":
        return _heat(row, *_range(row))
    elif row.ndim == 2:
        row = row[..., None]
    if row.shape[-1] == 2:
        return hsv_picture(row, full_scale)
    return np.repeat(row, 3, axis=-1) if row.shape[-1] == 1 else np.asarray(row)


def _range(values: np.ndarray) -> tuple[float, float]:
    """Lowest and highest of what is finite."""
    finite = np.asarray(values, np.float32)[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def _heat(values: np.ndarray, lowest: float, highest: float) -> np.ndarray:
    """Values (..., H, W) as RGB (..., H, W, 3) uint8, dark to bright; what is not finite counts as the lowest."""
    known = np.nan_to_num(np.asarray(values, np.float32), nan=lowest, posinf=highest, neginf=lowest)
    scaled = (known - lowest) / max(highest - lowest, 1e-12)
    gray = (255 * scaled.clip(0, 1)).round().astype(np.uint8)
    flat = gray.reshape(-1, gray.shape[-1])  # OpenCV takes single pictures only
    return cv2.applyColorMap(flat, cv2.COLORMAP_INFERNO)[..., ::-1].reshape(*gray.shape, 3)


def _table(features: np.ndarray, width: int, height: int = 96) -> np.ndarray:
    """Features (T, D) as a picture: time to the right."""
    values = np.asarray(features, np.float32)
    values = np.where(np.isfinite(values), values, np.nanmin(values, initial=0, where=np.isfinite(values)))
    spread = np.ptp(values, axis=0)
    picture = _heat(((values - values.min(axis=0)) / np.where(spread > 0, spread, 1)).T, 0.0, 1.0)
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def _legend(width: int) -> np.ndarray:
    """A line that explains the colours of flow."""
    wheel = colour_wheel(64)
    line = np.full((68, width, 3), 255, np.uint8)
    line[2:66, 4:68] = wheel
    for i, text in enumerate(("colour: direction of motion", f"full colour: {FLOW_SCALE:g} pixels a frame, or more")):
        cv2.putText(line, text, (78, 30 + 18 * i), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return line


def _tile(image: np.ndarray, label: str, width: int) -> np.ndarray:
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    tile = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    cv2.putText(tile, label, (3, height - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.35, (255, 255, 0), 1, cv2.LINE_AA)
    tile[:, -1] = 255
    return tile
