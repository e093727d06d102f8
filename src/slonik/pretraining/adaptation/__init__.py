"""Train a checkpoint on with the texts of a domain: `slonik adapt`."""
