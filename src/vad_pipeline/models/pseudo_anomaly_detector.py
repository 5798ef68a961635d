"""Spatio-temporal pseudo-anomaly generation as a detector (seed text pseudo_anomaly_generation; spec 6.1, 6.7).

Three parts are trained apart, never end to end: a spatial autoencoder on frames (``conv3d_ae``), a temporal one on
optical flow (``flow_conv3d_ae``) and a discriminator of frame features (``semantic_discriminator``), each with its own
pseudo-anomalies. A frame's anomaly score is the weighted sum of 1 - mm(PSNR), mm(flow error) and the discriminator's
probability, mm being min-max normalisation over the clip.

Left open and chosen here: the weights ("tuned for every dataset" in a supplement that is not at hand) are equal in the
headline; weights by inverse spread on held-out normal clips stand beside it, and the oracle grid of ``protocol: paper``
shows what tuning on the test labels would give. The discriminator's probability is not min-max normalised, as the text
has it.
"""

from vad_pipeline.models.system import Fusion, Part, System

SYSTEM = System(
    "pseudo_anomaly_detector",
    {
        "spatial": Part("conv3d_ae", pseudo="pseudo_anomalies.spatial"),
        "temporal": Part("flow_conv3d_ae", size="optical_flow", pseudo="pseudo_anomalies.temporal"),
        "discriminator": Part("semantic_discriminator", size="optical_flow", pseudo="pseudo_anomalies.spatial"),
    },
    (
        Fusion("spatial", ("psnr",), None, "pseudo_anomaly_detector/spatial", "segmentation"),
        Fusion("temporal", ("flow_error",)),
        Fusion("discriminator", ("pseudo_probability",)),
        Fusion(
            "fused, without discriminator",
            ("psnr", "flow_error"),
            "_no_discriminator",
            "pseudo_anomaly_detector/no_discriminator",
        ),
        Fusion("fused", ("psnr", "flow_error", "pseudo_probability"), "", "pseudo_anomaly_detector"),
    ),
)
