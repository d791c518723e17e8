"""Files in templates/ become domain values here; every fault names its file, line and remedy."""
