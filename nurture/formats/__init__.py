"""Files and API items of other systems, read into typed rows."""
