"""Every table, one file per area."""
