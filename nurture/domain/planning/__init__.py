"""Decide what happens to a lead next: programs, conditions, calendar and the planner."""
