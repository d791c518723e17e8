"""Define the sales policy: reps, hours, readiness, and the effect of a change."""
