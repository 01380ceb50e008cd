"""Files: written atomically, locked, read within limits, fetched from the hub."""
