"""The HTTP service: networks behind batchers, endpoints, and the web page."""

__version__ = "0.2.0"  # of the whole project: pyproject.toml, the client's wheel and OpenAPI take it from here
