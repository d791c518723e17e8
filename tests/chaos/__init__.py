"""What crashes, interleavings and full disks do to the worker. `make chaos` runs it; its seed repeats it."""
