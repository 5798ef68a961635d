"""Nodes of the optical_flow pipeline."""

from typing import Literal, get_args

from matplotlib.figure import Figure

from vad_pipeline.clips.clip import Clips
from vad_pipeline.clips.job import ClipJob
from vad_pipeline.clips.resize import FrameSize, resize_jobs
from vad_pipeline.flow.comparison import compare_flows
from vad_pipeline.flow.dis import DIS, dis_jobs
from vad_pipeline.flow.flownet_flow import FlowNetFlow, flownet_jobs
from vad_pipeline.flow.tvl1 import TVL1, tvl1_jobs
from vad_pipeline.report.flow_report import draw_flow_report

Estimator = Literal["tvl1", "flownet", "dis"]


def resize_frames(native_frames: Clips, size: FrameSize) -> dict[str, ClipJob]:
    """Frames of the size that flow is computed at, uint8 (T, height, width, channels)."""
    return resize_jobs(native_frames, size)


def estimate_tvl1(frames: Clips, estimators: list[Estimator], config: TVL1) -> dict[str, ClipJob]:
    """TV-L1 flow of every clip, float16 (T-1, H, W, 2); no clips where it is not among the estimators."""
    return tvl1_jobs(frames, config) if "tvl1" in _known(estimators) else {}


def estimate_flownet(frames: Clips, estimators: list[Estimator], config: FlowNetFlow) -> dict[str, ClipJob]:
    """FlowNet's flow of every clip, float16 (T-1, H, W, 2); no clips where it is not among the estimators."""
    return flownet_jobs(frames, config) if "flownet" in _known(estimators) else {}


def estimate_dis(frames: Clips, estimators: list[Estimator], config: DIS) -> dict[str, ClipJob]:
    """DIS flow of every clip, float16 (T-1, H, W, 2); no clips where it is not among the estimators."""
    return dis_jobs(frames, config) if "dis" in _known(estimators) else {}


def report_flow(
    dataset: str, frames: Clips, flow_tvl1: Clips, flow_flownet: Clips, flow_dis: Clips
) -> tuple[dict[str, float], Figure, Figure, Figure, str]:
    """Metrics, figures (examples, magnitudes, disagreement) and the HTML report on the flow that there is."""
    flows = {"tvl1": flow_tvl1, "flownet": flow_flownet, "dis": flow_dis}
    flows = {name: clips for name, clips in flows.items() if clips}
    found = compare_flows(frames, flows)
    return found.metrics, *draw_flow_report(dataset, frames, flows, found)


def _known(estimators: list[Estimator]) -> list[Estimator]:
    unknown = sorted(set(estimators) - set(get_args(Estimator)))
    if unknown or not estimators:
        raise ValueError(
            f"optical_flow.estimators: {', '.join(unknown) or 'none'}; choose some of {', '.join(get_args(Estimator))}"
        )
    return estimators
