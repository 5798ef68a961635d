"""Clips, their order and size, and the pool that keeps them; everything else stands on this."""
