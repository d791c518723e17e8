"""The use cases, one package per stage of the journey of a lead."""
