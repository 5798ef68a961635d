"""What a user reads who runs a pipeline before the one that it builds on."""

import logging

import pytest
from kedro.io import DatasetError

from vad_pipeline.pipelines import missing_inputs


@pytest.mark.parametrize(
    ("pipeline", "options", "remedy"),
    [
        ("lgn_net_sweeps", {}, "kedro run --pipeline=lgn_net` makes it"),
        (
            "image_anomalies",
            {"namespaces": ["image_anomalies__alps_2"]},
            "kedro run --pipeline=image_anomalies --to-outputs=image_anomalies.frames` makes it",
        ),
        ("lgn_net", {"from_nodes": ["lgn_net.resize_frames"]}, "kedro run --pipeline=lgn_net --to-outputs=frames`"),
    ],
)
def test_a_missing_input_is_named_with_the_command_that_makes_it(project, caplog, pipeline, options, remedy):
    with (
        caplog.at_level(logging.ERROR, logger=missing_inputs.__name__),
        pytest.raises(DatasetError, match="Did not find any versions"),
    ):
        project.run(pipeline, **options)
    (said,) = [record.getMessage() for record in caplog.records if record.name == missing_inputs.__name__]
    assert remedy in said


def test_a_comparison_before_any_evaluation_names_a_pipeline_that_evaluates(project):
    with pytest.raises(
        ValueError, match=r"none of lgn_net, .* has been evaluated on scenes; `kedro run --pipeline=lgn"
    ):
        project.run("model_comparison")
