"""A classifier of a data set's images, whose features and whose mistakes measure what a sampler draws of it."""
