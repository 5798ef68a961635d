"""Latent inpainters, fitted here or public, and clips whose holes they filled."""
