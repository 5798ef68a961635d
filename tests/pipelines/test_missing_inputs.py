"""What a user reads who runs a pipeline before the one that it builds on."""

import pytest
from kedro.io import DatasetError


@pytest.mark.parametrize(
    ("pipeline", "options", "remedy"),
    [
        ("lgn_net_sweeps", {}, "are not there yet; run `kedro run --pipeline=lgn_net` first"),
        (
            "image_anomalies",
            {"namespaces": ["image_anomalies__alps_2"]},
            "image_anomalies.frames is not there yet; run `kedro run --pipeline=image_anomalies "
            "--to-outputs=image_anomalies.frames` first",
        ),
        (
            "lgn_net",
            {"from_nodes": ["lgn_net.resize_frames"]},
            "frames, labels, trivial_scores are not there yet; run `kedro run --pipeline=lgn_net "
            "--to-outputs=frames,labels,trivial_scores` first",
        ),
        (
            "transfer",
            {},
            "are not there yet; run `kedro run --env=scenes --pipeline=lntra_patch` and `kedro run --env=scenes "
            "--pipeline=lntra_skip_frame` and `kedro run --env=scenes --pipeline=pseudo_anomaly_detector` first",
        ),
    ],
)
def test_missing_inputs_are_named_with_the_command_that_makes_them_before_anything_runs(
    project, pipeline, options, remedy
):
    with pytest.raises(DatasetError) as stopped:
        project.run(pipeline, **options)
    assert str(stopped.value).endswith(remedy)
    assert not project.files()


def test_a_comparison_before_any_evaluation_names_a_pipeline_that_evaluates(project):
    with pytest.raises(
        ValueError, match=r"none of scene_exemplars, .* has been evaluated on scenes; `kedro run --pipeline=scene_ex"
    ):
        project.run("model_comparison")
