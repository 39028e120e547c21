"""A typed Python client of the service, on `requests` alone.

client = Client("http://localhost:3000")
client.translate("horse.jpg").save("zebra.png")
"""

from client.answers import Job, Picture, ServiceError
from client.client import Client

__all__ = ["Client", "Job", "Picture", "ServiceError"]
