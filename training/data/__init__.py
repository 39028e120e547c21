"""From folders, archives and data sets to batches of pixels."""
