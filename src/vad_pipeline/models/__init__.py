"""The models, one file per published architecture, and the systems that they make up (``systems.py``).

Every file here is a model but ``contract`` and ``scorer``, which say what a model is, ``memory_model``, which models
with a memory of prototypes share, ``system`` and ``systems``, and ``build``.
"""
