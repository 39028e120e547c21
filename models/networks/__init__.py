"""The networks, one file each. A new one is imported here, and so enters the table of architectures (`table.py`)."""

from models.networks import airbench, alae, biggan, cyclegan, dcgan, mlp, r3gan, sngan, unet

__all__ = ["airbench", "alae", "biggan", "cyclegan", "dcgan", "mlp", "r3gan", "sngan", "unet"]
