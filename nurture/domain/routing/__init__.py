"""Choose the rep for a lead: rules, accounts, round robin and queue priority."""
