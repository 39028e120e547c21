"""One file for each thing that a client can ask: its fields, its work, its answer, its `Operation`."""
