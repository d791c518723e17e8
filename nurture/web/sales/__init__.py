"""Pages for reps: offers, workspace and the sales report."""
