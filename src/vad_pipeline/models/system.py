"""A system: a published method as users name, train and compare it. Nothing here imports torch."""

from collections.abc import Mapping
from dataclasses import dataclass

ONLY = ""  # name of the part of a system of one


@dataclass(frozen=True)
class Part:
    """A model of a system, trained by itself.

    Attributes:
        model: its file in ``models/``.
        size: section of the parameters whose ``frames`` say the size of its frames; empty for its own.
        pseudo: data set of stored pseudo-anomalies that it is given; empty for none.
    """

    model: str
    size: str = ""
    pseudo: str = ""


@dataclass(frozen=True)
class Fusion:
    """A row of a system's table: terms that are fused, with equal weights, into one score.

    Attributes:
        title: as the table prints it.
        terms: which.
        key: end of the names of its metrics; None where it is of one term, whose metrics have its name already.
        published, condition: the row of ``published_results.csv`` that it stands beside, if any.
    """

    title: str
    terms: tuple[str, ...]
    key: str | None = None
    published: str = ""
    condition: str = ""


@dataclass(frozen=True)
class System:
    """A published method.

    Attributes:
        name: of its pipeline and parameters.
        parts: name -> model; a system of one has the part ``ONLY``, whose model's own weights fuse its terms.
        rows: of its table, for a system of several parts; that whose key is empty is the headline.
    """

    name: str
    parts: Mapping[str, Part]
    rows: tuple[Fusion, ...] = ()

    @property
    def fused(self) -> bool:
        """Whether it has several parts."""
        return ONLY not in self.parts

    @property
    def headline(self) -> Fusion:
        """The row of a fused system that its metrics are of."""
        return next(row for row in self.rows if row.key == "")

    def namespace(self, part: str) -> str:
        """Of a part's data sets and parameters."""
        return f"{self.name}.{part}" if part else self.name
