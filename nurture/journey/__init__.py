"""The use cases, in the order in which a lead meets them."""
