"""Fitting of any module: seeds, resumption, checkpoints, loaders, devices."""
