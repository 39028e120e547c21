"""The scores, as functions of features and statistics."""
