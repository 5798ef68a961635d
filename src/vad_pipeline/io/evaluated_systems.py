"""The scored frames of every system, whichever have been evaluated."""

from collections.abc import Callable
from typing import Any

from kedro_datasets.partitions import PartitionedDataset


class EvaluatedSystemsDataset(PartitionedDataset):
    """Kedro's partitions, but none at all are no error: who reads them says which pipeline makes one."""

    def load(self) -> dict[str, Callable[[], Any]]:
        """``<system>/<file>/<version>`` -> loads that table; empty before any system was evaluated."""
        return super().load() if self.exists() else {}
