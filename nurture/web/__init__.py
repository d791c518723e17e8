"""Public endpoints: answers to hand-offs, unsubscribe."""
