"""A typed Python client of the GAN service, and the command line `gan`.

client = Client("http://localhost:3000")
client.translate("horse.jpg").save("zebra.png")
"""

from gan_client.answers import Picture, ServiceError
from gan_client.client import Client
from gan_client.jobs import Event, Job

__all__ = ["Client", "Event", "Job", "Picture", "ServiceError"]
