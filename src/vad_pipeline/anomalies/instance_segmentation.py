"""People and vehicles by torchvision's Mask R-CNN, from a local file of weights (extra ``segmentation``)."""

import pickle
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

WANTED = tuple(range(1, 10))  # COCO: person, bicycle, car, motorcycle, airplane, bus, train, truck, boat
CONFIDENCE = 0.5
ON = 0.5  # probability above which a pixel belongs to an instance


class SegmentationError(RuntimeError):
    """Instance segmentation cannot run; the message says what is missing."""


def segment_instances(frame: np.ndarray, network: Any) -> np.ndarray:
    """Union of the instance masks of people and vehicles, bool (H, W).

    Args:
        frame: uint8 (H, W, 1|3), RGB.
        network: what ``load`` gives: a list of images float32 (3, H, W) in [0, 1] to a list of dictionaries with
            scores (N,), labels (N,) and masks (N, 1, H, W).
    """
    picture = torch.from_numpy(np.repeat(frame, 3 // frame.shape[-1], axis=-1)).movedim(-1, 0).float() / 255
    with torch.inference_mode():
        found = network([picture])[0]
    wanted = (found["scores"] >= CONFIDENCE) & torch.isin(found["labels"], torch.tensor(WANTED))
    return (found["masks"][wanted, 0] > ON).any(dim=0).cpu().numpy()


@lru_cache(maxsize=1)
def load(weights: str | None) -> Any:
    """The network with its weights, in evaluation mode.

    Args:
        weights: file with the state dict of ``torchvision.models.detection.maskrcnn_resnet50_fpn``.

    Raises:
        SegmentationError: no such file, another network's, or torchvision is not installed.
    """
    if weights is None or not Path(weights).is_file():
        raise SegmentationError(
            f"no Mask R-CNN weights at {weights}; set masks.weights to a file with the state dict of torchvision's "
            "maskrcnn_resnet50_fpn, or set masks.segmenter: background, which needs none"
        )
    try:
        from torchvision.models.detection import maskrcnn_resnet50_fpn  # type: ignore[import-not-found]
    except (ImportError, RuntimeError) as error:
        raise SegmentationError(
            f"masks.segmenter: mask_rcnn needs torchvision ({error}); install it with pip install '.[segmentation]', "
            "or set masks.segmenter: background"
        ) from error
    network = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    try:
        network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise SegmentationError(f"{weights} is not a state dict of maskrcnn_resnet50_fpn: {error}") from error
    return network.eval()
