"""Which models serve, under which names, and why a new version waits."""
