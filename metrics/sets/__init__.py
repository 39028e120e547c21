"""A set as its features and moments, in memory and in files."""
