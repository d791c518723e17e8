"""Match leads with accounts by company domain, then by company name."""
