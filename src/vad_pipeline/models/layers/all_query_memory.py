"""What MSTI-Net's memory does otherwise than MNAD's (``memory.py``): every query moves every item, and its losses.

Items are unit vectors (N, C), queries unit vectors (K, C), computed in float32, also under autocast.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from vad_pipeline.models.layers.memory import read


@torch.no_grad()
@torch.autocast("cpu", enabled=False)
@torch.autocast("cuda", enabled=False)
def items_moved_by_all(queries: Tensor, items: Tensor) -> Tensor:
    """The items moved towards a mean of all queries, weighted by a softmax over them (MSTI-Net Eq. 5), (N, C), unit
    rows; the given items are left as they are."""
    weights = (queries @ items.T).softmax(dim=0)  # (K, N); the printed size of v_i, N x C, cannot be multiplied by Q
    return F.normalize(items + weights.T @ queries, dim=1)


@torch.autocast("cpu", enabled=False)
@torch.autocast("cuda", enabled=False)
def addressing_entropy(queries: Tensor, items: Tensor) -> Tensor:
    """Entropy of each query's weights over the items, (K,) in nats, from 0 to log N; its mean is MSTI-Net's
    separateness loss (Eq. 7)."""
    log_weights = (queries @ items.T).log_softmax(dim=1)
    return -(log_weights.exp() * log_weights).sum(dim=1)


@torch.autocast("cpu", enabled=False)
@torch.autocast("cuda", enabled=False)
def dissimilarity(queries: Tensor, items: Tensor, tolerance: float) -> Tensor:
    """One minus the cosine between each query and what it reads, as far as it exceeds the tolerance, (K,); its mean is
    MSTI-Net's compactness loss.

    Eq. 8 prints the cosine itself less the tolerance: minimised, it would drive what is read away from the query.
    """
    cosine = F.cosine_similarity(read(queries, items), queries, dim=1)
    return (1 - cosine - tolerance).clamp_min(0)
