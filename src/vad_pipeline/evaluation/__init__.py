"""From tables of raw terms and labels to metrics: align, normalise and fuse, measure (spec 1.2-1.4)."""
