"""A trained model, rebuilt from its checkpoint."""

from typing import Any

from pydantic import TypeAdapter, ValidationError

from vad_pipeline.fitting.checkpoint import Checkpoint, CheckpointError
from vad_pipeline.fitting.one_pass import take_state
from vad_pipeline.models.contract import Model
from vad_pipeline.models.systems import model_class


def configuration(checkpoint: Checkpoint) -> Any:
    """The model's typed configuration.

    Raises:
        CheckpointError: there is no such model, or it has no such configuration.
    """
    try:
        config_class = model_class(checkpoint.model).config_class
    except LookupError as error:
        raise CheckpointError(f"checkpoint of an unknown model: {error}") from error
    try:
        return TypeAdapter(config_class).validate_python(checkpoint.config)
    except ValidationError as error:
        raise CheckpointError(
            f"checkpoint of {checkpoint.model}: its configuration is of another version ({error}); train it again"
        ) from error


def build(checkpoint: Checkpoint) -> Model:
    """The model with its weights, in evaluation mode; no pretrained file is needed for it.

    Raises:
        CheckpointError: there is no such model, or the weights do not fit its configuration.
    """
    config = configuration(checkpoint)
    model = model_class(checkpoint.model)(config, colours=3 if checkpoint.frames["colour"] == "rgb" else 1)
    try:
        (take_state if model.learns_in_one_pass else type(model).load_state_dict)(model, checkpoint.state)
    except RuntimeError as error:
        raise CheckpointError(
            f"checkpoint of {checkpoint.model}: its weights do not fit its configuration ({error}); train it again"
        ) from error
    return model.eval()
