"""Losses, penalties and augmentations: pure functions of tensors."""
