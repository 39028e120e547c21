"""A typed Python client of the service, on `requests` alone.

client = Client("http://localhost:3000")
client.translate("horse.jpg").save("zebra.png")
"""

from client.client import Client
from client.transport import Job, JobState, Picture, ServiceError

__all__ = ["Client", "Job", "JobState", "Picture", "ServiceError"]
