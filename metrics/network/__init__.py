"""The Inception network: its layers, weights and engines."""
