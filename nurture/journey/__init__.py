"""The use cases, in the lead's order: intake, enrol, advance, deliver, listen, hand off, close, audit, report."""
