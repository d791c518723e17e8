"""CRMs: their interface and registry, and one folder per CRM."""
