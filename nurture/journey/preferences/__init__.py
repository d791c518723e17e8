"""What a lead does on its own pages: unsubscribe, topics, frequency, pauses."""
