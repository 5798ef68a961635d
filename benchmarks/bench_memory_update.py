"""The memory update: vectorised against the obvious loop over items, at 200 items and 8x32x32 queries of 512 channels.

    python benchmarks/bench_memory_update.py

Bar: at least 10 times.
"""

import torch
import torch.nn.functional as F
from measure import compare, machine

from vad_pipeline.models.layers.memory import updated_items

ITEMS, QUERIES, CHANNELS = 200, 8 * 32 * 32, 512


def loop(queries: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """Item by item, query by query."""
    score = queries @ items.T
    weights = score.softmax(dim=0)
    nearest = score.argmax(dim=1)
    step = torch.zeros_like(items)
    for i in range(len(items)):
        largest = weights[:, i].max()
        for k in torch.nonzero(nearest == i)[:, 0]:
            step[i] += weights[k, i] / largest * queries[k]
    return F.normalize(items + step, dim=1)


def main() -> None:
    print(machine())
    torch.manual_seed(0)
    queries, items = F.normalize(torch.randn(QUERIES, CHANNELS)), F.normalize(torch.randn(ITEMS, CHANNELS))
    torch.testing.assert_close(loop(queries, items), updated_items(queries, items), rtol=1e-4, atol=1e-5)
    compare(
        f"memory update, {ITEMS} items, {QUERIES} queries, loop against vectorised",
        lambda: loop(queries, items),
        lambda: updated_items(queries, items),
    )


if __name__ == "__main__":
    main()
