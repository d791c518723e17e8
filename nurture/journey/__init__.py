"""The use cases, one package per stage of a lead's way."""
