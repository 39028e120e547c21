"""Options of a run: how they are written, read and checked."""
