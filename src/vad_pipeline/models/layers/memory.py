"""The memory of prototypical normal features of MNAD (Park et al., CVPR 2020), as its official code computes it.

LGN-Net and MSTI-Net use it too. Items are unit vectors (N, C); queries are the L2-normalised pixels of a feature map,
(K, C) with K = B*h*w, so that the softmax over queries mixes the batch (spec 1.8). Everything is computed in float32,
also under autocast: the exponentials of nearly equal cosines need it.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor


def initial_items(n_items: int, channels: int, generator: torch.Generator | None = None) -> Tensor:
    """Items (N, C) drawn uniformly from [0, 1) and normalised."""
    return F.normalize(torch.rand(n_items, channels, generator=generator), dim=1)


def as_queries(features: Tensor) -> Tensor:
    """Feature map (B, C, h, w) to unit queries (B*h*w, C)."""
    return F.normalize(features.float(), dim=1).movedim(1, -1).reshape(-1, features.shape[1])


def as_features(queries: Tensor, like: Tensor) -> Tensor:
    """Queries (B*h*w, C) back to the shape of a feature map (B, C, h, w)."""
    b, c, h, w = like.shape
    return queries.reshape(b, h, w, c).movedim(-1, 1)


@torch.autocast("cpu", enabled=False)
@torch.autocast("cuda", enabled=False)
def read(queries: Tensor, items: Tensor, detach: bool = False) -> Tensor:
    """Each query as the mix of items that it resembles (LGN-Net Eqs. 2-3), (K, C).

    Args:
        queries: (K, C).
        items: (N, C).
        detach: stop the gradient through the addressing weights, as the official code of LGN-Net does.
    """
    weights = (queries @ items.T).softmax(dim=1)
    return (weights.detach() if detach else weights) @ items


@torch.autocast("cpu", enabled=False)
@torch.autocast("cuda", enabled=False)
def nearest_distance(queries: Tensor, items: Tensor) -> Tensor:
    """Squared distance of each query to its nearest item, averaged over channels, (K,); its mean is the compactness
    loss (LGN-Net Eq. 10, as the official code averages it) and, at test, the feature distance (Eq. 14)."""
    nearest = items[(queries @ items.T).argmax(dim=1)].detach()
    return (queries - nearest).square().mean(dim=1)


@torch.autocast("cpu", enabled=False)
@torch.autocast("cuda", enabled=False)
def separateness(queries: Tensor, items: Tensor, margin: float = 1.0) -> Tensor:
    """Triplet margin loss between the nearest and the second nearest item (LGN-Net Eq. 11), a scalar; both items are
    constants."""
    first, second = items[(queries @ items.T).topk(2, dim=1).indices].detach().unbind(dim=1)
    return F.triplet_margin_loss(queries, first, second, margin=margin)


@torch.no_grad()
@torch.autocast("cpu", enabled=False)
@torch.autocast("cuda", enabled=False)
def updated_items(queries: Tensor, items: Tensor, update_max: Literal["all", "subset"] = "all") -> Tensor:
    """The items moved towards the queries that are nearest to them (LGN-Net Eqs. 4-6), (N, C), unit rows.

    Args:
        queries: (K, C).
        items: (N, C), left as they are.
        update_max: over which queries the weights of an item are divided by their maximum: ``all``, as the official
            code does, or the ``subset`` that is nearest to it, as Eq. 6 prints.
    """
    score = queries @ items.T  # (K, N)
    own, nearest = score.max(dim=1)  # (K,)
    if update_max == "all":
        largest = score.amax(dim=0)
    else:
        largest = score.new_full((len(items),), -torch.inf).scatter_reduce(0, nearest, own, "amax")
    # the softmax over queries (Eq. 5) divided by its maximum (Eq. 6): its denominator cancels
    weights = torch.exp(own - largest[nearest])
    step = torch.zeros_like(items).index_add_(0, nearest, weights[:, None] * queries)
    return F.normalize(items + step, dim=1)
