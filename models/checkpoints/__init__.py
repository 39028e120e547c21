"""Checkpoint files: ours and other projects'."""
