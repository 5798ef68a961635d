"""Spatio-temporal pseudo-anomaly generation as a detector (seed text pseudo_anomaly_generation; spec 6.1, 6.7).

Three parts are trained apart, never end to end: a spatial autoencoder on frames (``conv3d_ae``), a temporal one on
optical flow (``flow_conv3d_ae``) and a discriminator of frame features (``semantic_discriminator``), each with its own
pseudo-anomalies. A frame's anomaly score is the weighted sum of 1 - mm(PSNR), mm(flow error) and the discriminator's
probability, mm being min-max normalisation over the clip.

Left open and chosen here: the weights ("tuned for every dataset" in a supplement that is not at hand) are equal in the
headline; ``inverse_spread`` sets them by held-out normal clips, and the oracle grid of ``protocol: paper`` shows what
tuning on the test labels would give. The discriminator's probability is not min-max normalised, as the text has it.
"""

from collections.abc import Sequence

from vad_pipeline.evaluation.terms import Term
from vad_pipeline.models.conv3d_ae import Conv3dAE
from vad_pipeline.models.flow_conv3d_ae import FlowConv3dAE
from vad_pipeline.models.semantic_discriminator import SemanticDiscriminator

PARTS = {"spatial": "conv3d_ae", "temporal": "flow_conv3d_ae", "discriminator": "semantic_discriminator"}

TERMS: dict[str, Term] = {**Conv3dAE.terms, **FlowConv3dAE.terms, **SemanticDiscriminator.terms}

# Rows of the table: which terms are fused, and system and condition in published_results.csv that they stand beside.
ROWS: dict[str, tuple[tuple[str, ...], tuple[str, str]]] = {
    "spatial": (("psnr",), ("pseudo_anomaly_detector/spatial", "segmentation")),
    "temporal": (("flow_error",), ("", "")),
    "discriminator": (("pseudo_probability",), ("", "")),
    "fused, without discriminator": (("psnr", "flow_error"), ("pseudo_anomaly_detector/no_discriminator", "")),
    "fused": (("psnr", "flow_error", "pseudo_probability"), ("pseudo_anomaly_detector", "")),
}


def equal_weights(terms: Sequence[str]) -> dict[str, float]:
    """The headline's weights of some terms.

    >>> equal_weights(["psnr", "flow_error"])
    {'psnr': 0.5, 'flow_error': 0.5}
    """
    return {term: 1 / len(terms) for term in terms}
