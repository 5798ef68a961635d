"""A trained model, rebuilt from its checkpoint."""

from typing import Any

from pydantic import TypeAdapter, ValidationError

from vad_pipeline.fitting.checkpoint import Checkpoint, CheckpointError
from vad_pipeline.models import MODELS
from vad_pipeline.models.contract import Detector


def build(checkpoint: Checkpoint) -> Detector:
    """The model with its weights, in evaluation mode.

    Raises:
        CheckpointError: the registry has no such model, or the weights do not fit its configuration.
    """
    if checkpoint.model not in MODELS:
        raise CheckpointError(f"checkpoint of an unknown model {checkpoint.model!r}; known are: {', '.join(MODELS)}")
    kind = MODELS[checkpoint.model]
    try:
        config: Any = TypeAdapter(kind.config_class).validate_python(checkpoint.config)
        model = kind(config, colours=3 if checkpoint.frames["colour"] == "rgb" else 1)
        model.load_state_dict(checkpoint.state)
    except (ValidationError, RuntimeError) as error:
        raise CheckpointError(
            f"checkpoint of {checkpoint.model}: its weights do not fit its configuration ({error}); train it again"
        ) from error
    return model.eval()
