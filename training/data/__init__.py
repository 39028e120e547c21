"""From folders, archives and data sets to batches of pixels."""

from training.data.images import Dataset, load_domain, load_images

__all__ = ["Dataset", "load_domain", "load_images"]
