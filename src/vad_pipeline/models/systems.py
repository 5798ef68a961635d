"""The systems: what users name, train and compare. Nothing here imports torch; models are imported when asked for.

A system is a published method: one model, or several whose scores are fused. Every file of ``models/`` that holds a
model is a system of the same name by itself; declared below is what does not go without saying: models that several
baselines share, systems of several parts, and models that are nothing but a part.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vad_pipeline.evaluation.terms import Term, WeightedRow
from vad_pipeline.models import pseudo_anomaly_detector
from vad_pipeline.models.system import ONLY, Part, System

if TYPE_CHECKING:
    from vad_pipeline.models.contract import Model

MEAN_AND_WORST = ("psnr", "worst_place")  # a frame's mean error, and the highest one of a place in it
PARTS_ONLY = frozenset({"flow_conv3d_ae", "semantic_discriminator"})
NO_MODELS = frozenset({"__init__", "build", "contract", "memory_model", "scorer", "system", "systems"})

DECLARED = (
    *(System(name, {ONLY: Part("conv3d_ae")}) for name in ("lntra_patch", "lntra_skip_frame", "steal_net")),
    pseudo_anomaly_detector.SYSTEM,
)


SYSTEMS: dict[str, System] = {
    name: System(name, {ONLY: Part(name)})
    for name in sorted(path.stem for path in Path(__file__).parent.glob("*.py"))
    if name not in NO_MODELS | PARTS_ONLY
} | {system.name: system for system in DECLARED}

MODELS = tuple(sorted({part.model for system in SYSTEMS.values() for part in system.parts.values()}))


def model_class(name: str) -> "type[Model]":
    """The class of a model, given its file's name.

    Raises:
        LookupError: there is no such file, or not exactly one model in it.
    """
    if name not in MODELS:
        raise LookupError(f"no model {name!r}; there are: {', '.join(MODELS)}")
    from vad_pipeline.models.contract import Model

    module = importlib.import_module(f"{__package__}.{name}")
    found = [
        member
        for member in vars(module).values()
        if isinstance(member, type) and issubclass(member, Model) and member.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise LookupError(
            f"{module.__name__}: {len(found)} classes of a Model ({', '.join(c.__name__ for c in found) or 'none'}); a "
            "model's file defines exactly one"
        )
    return found[0]


def models_of(system: System) -> "dict[str, type[Model]]":
    """Part -> its model's class."""
    return {name: model_class(part.model) for name, part in system.parts.items()}


def terms_of(system: System) -> dict[str, Term]:
    """The raw terms of all parts."""
    return {name: term for model in models_of(system).values() for name, term in model.terms.items()}


def pictured_part(system: System) -> str:
    """The part that figures show: the first with error maps, or the first."""
    models = models_of(system)
    return next((name for name, model in models.items() if model.has_maps), next(iter(models)))


def rows_of(system: System, config: Any) -> list[WeightedRow]:
    """The rows of a system's table.

    Args:
        system: the declaration.
        config: of its model, which says the weights in a system of one; a fused system's are equal.

    Returns:
        The headline, and of a system of one with error maps its PSNR and worst place fused; of a fused system its rows.
    """
    if not system.fused:
        (model,) = models_of(system).values()
        headline = WeightedRow(system.name, model.fusion(config), "", system.name)
        return [headline] if set(MEAN_AND_WORST) - set(model.terms) else [headline, _mean_and_worst(system)]
    return [
        WeightedRow(row.title, {term: 1 / len(row.terms) for term in row.terms}, row.key, row.published, row.condition)
        for row in system.rows
    ]


def _mean_and_worst(system: System) -> WeightedRow:
    """In no paper, but chosen by pseudo-anomalies: small things hardly move PSNR, large ones show in all of a frame."""
    weights = {term: 1 / len(MEAN_AND_WORST) for term in MEAN_AND_WORST}
    return WeightedRow(f"{system.name}, PSNR and worst place", weights, "_psnr_and_worst_place")
