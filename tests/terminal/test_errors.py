"""What a user reads when a run stops."""

import pytest
from kedro.io import DatasetError
from pydantic import ValidationError

from vad_pipeline.clips.pool import ClipStoreError
from vad_pipeline.sources.raw_clip import SourceError
from vad_pipeline.terminal.errors import is_for_users, sentence_of
from vad_pipeline.training.train import Training


def wrapped(error):
    """As Kedro's catalog hands on what fails while a dataset is saved."""
    try:
        try:
            raise error
        except Exception as cause:
            raise DatasetError(f"Failed while saving data to dataset Store(filepath=..).\n{cause}") from cause
    except DatasetError as outer:
        return outer


def of(function):
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError("it raised nothing")


def test_the_sentence_is_the_cause_s_not_the_catalog_s():
    error = wrapped(ClipStoreError("no space left;\nrun kedro prune"))
    assert sentence_of(error) == "no space left; run kedro prune"
    assert is_for_users(error)


@pytest.mark.parametrize(
    "error",
    [SourceError("m.mp4 is empty"), DatasetError("x: not there"), PermissionError(13, "Permission denied", "/data")],
)
def test_what_the_user_can_mend_needs_no_traceback(error):
    assert is_for_users(error)


@pytest.mark.parametrize("bug", [lambda: {}["a"], lambda: int("x"), lambda: (1).nothing, lambda: [] + 1])  # type: ignore
def test_what_python_itself_raises_is_a_bug(bug):
    error = of(bug)
    assert not is_for_users(error)
    assert sentence_of(error).startswith(f"{type(error).__name__}: ")
    assert not is_for_users(wrapped(error))


def test_a_value_error_of_our_own_is_for_the_user_and_one_of_numpy_s_is_not():
    from vad_pipeline.io.prune import prune_clips
    from vad_pipeline.report.contact_sheet import contact_sheet

    assert is_for_users(of(lambda: prune_clips(None, keep=0)))  # type: ignore[arg-type]
    assert not is_for_users(of(lambda: contact_sheet({"a": 3})))  # type: ignore[dict-item]


def test_an_error_of_the_system_names_the_file():
    assert sentence_of(PermissionError(13, "Permission denied", "/data/a")) == "/data/a: permission denied"


def test_wrong_parameters_are_named_one_after_the_other():
    error = of(lambda: Training(epochs="many", held_out=2, epoch=1))  # type: ignore[call-arg]
    assert isinstance(error, ValidationError)
    sentence = sentence_of(error)
    assert "\n" not in sentence
    assert "Training.epochs: input should be a valid integer, unable to parse string as an integer (it is 'many')" in (
        sentence
    )
    assert "Training.held_out: input should be less than 1 (it is 2)" in sentence
    assert "Training.epoch: there is no such parameter; did you mean epochs?" in sentence
    assert "pydantic" not in sentence
