"""Push hand-offs to the CRM and pull changes back."""
