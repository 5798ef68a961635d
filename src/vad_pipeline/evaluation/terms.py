"""Raw terms of a score, and how they are put together."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """A raw term of a score.

    Attributes:
        higher_is_anomalous: direction; evaluation converts once.
        meaning: for the report, with unit.
        bounded: in [0, 1] as it is, such as a probability; it is fused without min-max normalisation.
    """

    higher_is_anomalous: bool
    meaning: str
    bounded: bool = False


@dataclass(frozen=True)
class WeightedRow:
    """A row of a system's table.

    Attributes:
        title: as the table prints it.
        weights: term -> weight.
        key: end of the names of its metrics; empty for the headline, None where they have names already.
        published, condition: the row of ``published_results.csv`` that it stands beside, if any.
    """

    title: str
    weights: Mapping[str, float]
    key: str | None = ""
    published: str = ""
    condition: str = ""
