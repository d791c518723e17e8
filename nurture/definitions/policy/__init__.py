"""The parts of templates/sales/policy.yaml, one file each."""
