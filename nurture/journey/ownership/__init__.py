"""Which account a lead belongs to, and which rep owns the lead."""
