"""The games: a paper's players, their steps and their options."""
