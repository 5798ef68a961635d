"""Raw terms of a score."""

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
