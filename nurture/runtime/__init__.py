"""What use cases share at run time: the context, published definitions, public links, redaction."""
