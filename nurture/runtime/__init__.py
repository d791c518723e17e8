"""Shared by all use cases: the context, published definitions, public links, quarantine, redaction."""
