"""Pages for leads: unsubscribe, preferences, clicks and questions."""
