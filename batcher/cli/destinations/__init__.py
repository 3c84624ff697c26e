"""Which destination a command writes to, and with whose credentials."""
