"""Record what leads do: clicks, replies, provider events and other signals."""
