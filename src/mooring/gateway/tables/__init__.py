"""The gateway's tables, one file each: the only place of the gateway with SQL in it."""
