"""The games, one file each. A new one is imported here, and so enters the table (`game.py`)."""

from training.games import alae, cut, cyclegan, dcgan, distil
from training.games.game import Game, games, kind_of

__all__ = ["Game", "alae", "cut", "cyclegan", "dcgan", "distil", "games", "kind_of"]
