"""Find the abnormal in video: train detectors on normal footage, compare them fairly, show what they found."""

__version__ = "0.1.0"
