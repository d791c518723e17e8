"""Which account a lead comes from: by its company's domain, then by its company's name."""
