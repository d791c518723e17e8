"""Route leads to reps, within their capacity and availability."""
