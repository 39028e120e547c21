"""A typed Python client of the GAN service, and the command line `gan`.

client = Client("http://localhost:3000")
client.translate("horse.jpg").save("zebra.png")
"""

from gan_client.answers import Job, Picture, ServiceError
from gan_client.client import Client

__all__ = ["Client", "Job", "Picture", "ServiceError"]
