"""Reports, the audit, and the explanation of one lead."""
