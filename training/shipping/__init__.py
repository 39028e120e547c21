"""What happens to a trained model: measured, described, exported, shipped."""
