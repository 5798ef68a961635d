"""Metrics as JSON that every reader takes: it knows no NaN and no infinity."""

import json
import math
from typing import Any

from kedro_datasets._typing import JSONPreview
from kedro_datasets.json import JSONDataset


class MetricsDataset(JSONDataset):
    """Flat metrics, name -> float; what is undefined is null in the file and NaN where it is loaded."""

    def load(self) -> dict[str, float]:
        return {name: math.nan if value is None else value for name, value in super().load().items()}

    def save(self, data: dict[str, float]) -> None:
        super().save(valid_json(dict(data)))

    def preview(self) -> JSONPreview:
        """For kedro-viz."""
        return JSONPreview(json.dumps(valid_json(self.load())))


def valid_json(value: Any) -> Any:
    """Mappings, lists and plain values with None instead of floats that are not finite.

    >>> valid_json({"auc": float("nan"), "rates": [0.5, float("inf")], "n": 3})
    {'auc': None, 'rates': [0.5, None], 'n': 3}
    """
    if isinstance(value, dict):
        return {key: valid_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [valid_json(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
