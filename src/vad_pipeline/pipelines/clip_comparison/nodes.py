"""The node that draws several systems on one clip."""

from typing import Any

from matplotlib.figure import Figure

from vad_pipeline.clips.clip import Clips
from vad_pipeline.report.clip_comparison import OnClip, clip_comparison_figure, most_abnormal_clip


def compare_on_clip(systems: tuple[str, ...], clip: str | None, frames: Clips, *inputs: Any) -> Figure:
    """Anomaly scores and error maps; without a clip named, of the one with the most abnormal frames.

    Args:
        systems: names.
        clip: its id, or None.
        frames: uint8 (T, H, W, C).
        inputs: scored frames of each system, then error maps of each, then the raw scores that these belong to.
    """
    tables, maps, raw = (inputs[n * len(systems) : (n + 1) * len(systems)] for n in range(3))
    chosen = clip or most_abnormal_clip(tables[0])
    found = {}
    for system, table, own, scores in zip(systems, tables, maps, raw, strict=True):
        scored = table[table["clip"] == chosen].reset_index(drop=True)
        if scored.empty or chosen not in own:
            known = ", ".join(table["clip"].unique()[:8])
            raise ValueError(f"clip_comparison.clip: {system} did not score {chosen}; it scored {known}, ...")
        mapped = scores.loc[scores["clip"] == chosen, "frame"].to_numpy()
        found[system] = OnClip(scored=scored, maps=own[chosen], mapped=mapped)
    return clip_comparison_figure(chosen, frames[chosen], found)
