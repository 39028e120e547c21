"""Bytes in, answers out. These files know requests and responses; they know no network and no model."""
