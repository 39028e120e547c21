"""Directions in latent space that users make: fitted to two sets of points, and kept by name."""
