"""What every system has left, whichever have run: scored frames, checkpoints."""

from collections.abc import Callable
from typing import Any

from kedro_datasets.partitions import PartitionedDataset


class EvaluatedSystemsDataset(PartitionedDataset):
    """Kedro's partitions, but none at all are no error: who reads them says which pipeline makes one."""

    def load(self) -> dict[str, Callable[[], Any]]:
        """``<system>/<file>/<version>`` -> loads that table or checkpoint; empty before any system has run."""
        return super().load() if self.exists() else {}
