"""The code that decides a model's results."""

import inspect
import sys

from vad_pipeline.models import layers
from vad_pipeline.models.contract import Model


def model_sources(kind: type[Model]) -> list[str]:
    """Source text of what decides a model's results: the modules of its classes, those it names, imported layers."""
    classes = (c for c in kind.__mro__ if issubclass(c, Model) and c is not Model)
    own = dict.fromkeys(sys.modules[c.__module__] for c in classes)
    inside = [found for key, found in sorted(sys.modules.items()) if key.startswith(f"{layers.__name__}.")]
    return [inspect.getsource(module) for module in (*own, *inside)]
