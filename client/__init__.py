"""A typed Python client of the service, on `requests` alone.

client = Client("http://localhost:3000")
client.translate("horse.jpg").save("zebra.png")
"""

from client.client import Client
from client.sets import Drawn, Reference
from client.transport import Job, Picture, ServiceError

__all__ = ["Client", "Drawn", "Job", "Picture", "Reference", "ServiceError"]
