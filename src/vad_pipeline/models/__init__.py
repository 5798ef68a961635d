"""The models, one file per published architecture, and the systems that they make up (``systems.py``).

Every file here is a model but ``contract`` and ``scorer``, which say what a model is, ``system`` and ``systems``, and
``build``.
"""
