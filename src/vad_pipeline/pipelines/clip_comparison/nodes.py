"""The node that draws several models on one clip."""

from collections.abc import Callable
from typing import Any

from matplotlib.figure import Figure

from vad_pipeline.clips.clip import Clips
from vad_pipeline.report.clip_comparison import OnClip, clip_comparison_figure, most_abnormal_clip


def compare_node(models: tuple[str, ...]) -> Callable[..., Figure]:
    """The node function that compares ``models``."""

    def compare_on_clip(clip: str | None, frames: Clips, *inputs: Any) -> Figure:
        """Anomaly scores and error maps; without a clip named, of the one with the most abnormal frames."""
        tables, maps, raw = (inputs[n * len(models) : (n + 1) * len(models)] for n in range(3))
        chosen = clip or most_abnormal_clip(tables[0])
        found = {}
        for model, table, own, scores in zip(models, tables, maps, raw, strict=True):
            scored = table[table["clip"] == chosen].reset_index(drop=True)
            if scored.empty or chosen not in own:
                known = ", ".join(table["clip"].unique()[:8])
                raise ValueError(f"clip_comparison.clip: {model} did not score {chosen}; it scored {known}, ...")
            mapped = scores.loc[scores["clip"] == chosen, "frame"].to_numpy()
            found[model] = OnClip(scored, own[chosen], mapped)
        return clip_comparison_figure(chosen, frames[chosen], found)

    return compare_on_clip
