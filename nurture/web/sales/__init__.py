"""Pages for reps and managers: offers, workspace, queues and the sales report."""
