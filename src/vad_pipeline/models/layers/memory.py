"""The memory of prototypical normal features of MNAD (Park et al., CVPR 2020), as its official code computes it.

LGN-Net and MSTI-Net use it too. Items are unit vectors (N, C); queries are the L2-normalised pixels of a feature map,
(K, C) with K = B*h*w, so that the softmax over queries mixes the batch (spec 1.8). Everything is computed in float32,
also under autocast: the exponentials of nearly equal cosines need it.
"""

from typing import Literal

import lightning
import torch
import torch.nn.functional as F
from torch import Tensor

UpdateMax = Literal["all", "subset"]
Reset = Literal["never", "per_clip"]
Distance = Literal["mse", "l2"]
Initial = Literal["uniform", "normal"]


def initial_items(
    n_items: int, channels: int, generator: torch.Generator | None = None, drawn: Initial = "uniform"
) -> Tensor:
    """Items (N, C) drawn uniformly from [0, 1), as the official code does, or from a normal distribution; normalised.

    Uniform ones all lie in one orthant, with a cosine of 0.75 between any two on average.
    """
    draw = torch.rand if drawn == "uniform" else torch.randn
    return F.normalize(draw(n_items, channels, generator=generator), dim=1)


def as_queries(features: Tensor) -> Tensor:
    """Feature map (B, C, h, w) to unit queries (B*h*w, C)."""
    return F.normalize(features.float(), dim=1).movedim(1, -1).reshape(-1, features.shape[1])


def as_features(queries: Tensor, like: Tensor) -> Tensor:
    """Queries (B*h*w, C) back to a feature map (B, C, h, w) of as many pixels as another has."""
    b, _, h, w = like.shape
    return queries.reshape(b, h, w, -1).movedim(-1, 1)


@torch.autocast("cpu", enabled=False)
@torch.autocast("cuda", enabled=False)
def read(queries: Tensor, items: Tensor, detach: bool = False, temperature: float = 1.0) -> Tensor:
    """Each query as the mix of items that it resembles (LGN-Net Eqs. 2-3), (K, C).

    Args:
        queries: (K, C).
        items: (N, C).
        detach: stop the gradient through the addressing weights, as the official code of LGN-Net does.
        temperature: that cosines are divided by; with the papers' 1 the weights of ten items are nearly equal.
    """
    weights = (queries @ items.T / temperature).softmax(dim=1)
    return (weights.detach() if detach else weights) @ items


@torch.autocast("cpu", enabled=False)
@torch.autocast("cuda", enabled=False)
def nearest_distance(queries: Tensor, items: Tensor, distance: Distance = "mse") -> Tensor:
    """Distance of each query to its nearest item, (K,).

    Args:
        queries: (K, C).
        items: (N, C), constants.
        distance: ``mse``, squared and averaged over channels: its mean is the compactness loss (LGN-Net Eq. 10, as the
            official code averages it) and, at test, the feature distance there; or ``l2``, the norm that Eq. 14 prints.
    """
    nearest = items[(queries @ items.T).argmax(dim=1)].detach()
    return (queries - nearest).square().mean(dim=1) if distance == "mse" else (queries - nearest).norm(dim=1)


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
def updated_items(queries: Tensor, items: Tensor, update_max: UpdateMax = "all") -> Tensor:
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


def gathered(queries: Tensor, module: lightning.LightningModule) -> Tensor:
    """The queries of all devices, without gradient: every device moves its memory with them, so that all stay equal."""
    queries = queries.detach()
    return torch.cat(list(module.all_gather(queries))) if module.trainer.world_size > 1 else queries


def regular_score(error: Tensor) -> Tensor:
    """Weighted regular score of frames (LGN-Net Eqs. 7-8 with squares, as the official code computes it), (n,).

    Args:
        error: squared error of images in [0, 1], (n, colours, H, W).
    """
    weights = 1 - torch.exp(-error)
    return (weights * error).flatten(1).sum(1) / weights.flatten(1).sum(1).clamp_min(1e-12)


class MovingMemory:
    """The memory while test clips go by: each frame that looks regular moves its items.

    Args:
        trained: items (N, C) after training; they stay as they are.
        gamma: weighted regular score below which, strictly, a frame moves the items; 0 keeps them where they are.
        reset: whether every clip begins with the trained items, or with what the last one left.
        update_max: see ``updated_items``.

    Attributes:
        items: (N, C), as they are now.
    """

    def __init__(self, trained: Tensor, gamma: float, reset: Reset = "never", update_max: UpdateMax = "all"):
        self.trained, self.gamma, self.reset, self.update_max = trained, gamma, reset, update_max
        self.items = trained

    @property
    def moves(self) -> bool:
        """Whether a frame's scores depend on the frames before it, so that they must be scored one by one."""
        return self.gamma > 0

    def begin(self) -> None:
        """A clip begins."""
        if self.reset == "per_clip":
            self.items = self.trained

    def observe(self, queries: Tensor, regular: float) -> None:
        """Go on after a frame was scored, given its queries (K, C) and its weighted regular score."""
        if regular < self.gamma:
            self.items = updated_items(queries, self.items, self.update_max)
