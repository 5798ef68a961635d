"""Misspelt parameters stop a run instead of leaving it as it was."""

import pytest
from kedro.framework.project import pipelines

from tests.pipelines.conftest import TINY_SCENES, project  # noqa: F401
from tests.test_configuration import ENVIRONMENTS, parameters
from vad_pipeline.pipeline_registry import pipeline_makers
from vad_pipeline.terminal.unread_parameters import SHARED, sections_read, unread_below


@pytest.mark.parametrize(
    ("pipeline", "slip", "message"),
    [
        ("frame_extraction", {"lgnnet": {"training": {"epochs": 1}}}, "parameter lgnnet: .*; did you mean lgn_net"),
        ("frame_extraction", {"epochs": 1}, "parameter epochs: no pipeline reads it"),
        ("frame_extraction", {"lgn_net": {"trainin": {"epochs": 1}}}, "lgn_net.trainin: .*mean lgn_net.training"),
        ("lgn_net", {"lgn_net": {"epochs": 1}}, "parameter lgn_net.epochs: no pipeline reads it"),
        (
            "frame_extraction",
            {"image_anomalies": {"training": {"epochs": 1}}},
            "image_anomalies.training: .*; did you mean image_anomalies.budget.training",
        ),
        (
            "pseudo_anomaly_detector",
            {"pseudo_anomaly_detector": {"spacial": {"model": {"width": 0.1}}}},
            "pseudo_anomaly_detector.spacial: .*pseudo_anomaly_detector.spatial.model",
        ),
        ("msti_net", {"optical_flow": {"tvl": {"preset": "fast"}}}, "optical_flow.tvl: .*mean optical_flow.tvl1"),
    ],
)
def test_a_misspelt_parameter_stops_the_run_with_the_nearest_names(project, pipeline, slip, message):  # noqa: F811
    with pytest.raises(ValueError, match=message):
        project.run(pipeline, params=TINY_SCENES | slip)
    assert not project.files()


def test_what_other_pipelines_read_may_be_said_to_any(project):  # noqa: F811
    others = {"optical_flow": {"estimators": ["tvl1"]}, "jobs": 2, "source": "ped2", "clip_comparison": {"clip": "a"}}
    project.run("frame_extraction", params=TINY_SCENES | others)
    assert project.files()


def test_every_parameter_of_every_environment_is_read_by_the_pipeline_of_its_name_or_another():
    pipelines.set_requested(None)
    known = {name for made in pipelines.values() for name in sections_read(made.inputs())} | set(SHARED)
    roots = {name.partition(".")[0] for name in known}
    assert roots <= {*SHARED, *pipeline_makers()}
    for environment in ENVIRONMENTS:
        for root, value in parameters(environment).items():
            assert not unread_below(root, value, known), environment
