"""Experiments with crashes, interleavings and full disks. `make chaos` runs them; SEED repeats a run."""
