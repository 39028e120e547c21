"""The loss laboratory: every loss on a ring of eight 2-D Gaussians."""
