"""Networks behind batchers. These files know no HTTP and no files."""
