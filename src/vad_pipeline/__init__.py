"""Find the abnormal in video: train detectors on normal footage, compare them fairly, show what they found."""

import os

__version__ = "0.1.0"

# Lightning and diffusers import transformers, which advertises torchvision for models that nothing here has.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
