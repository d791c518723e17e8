"""The sales policy as values: reps, hours, readiness, and the effect of a change."""
