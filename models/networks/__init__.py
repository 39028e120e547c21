"""The networks, and the table that builds them."""
