"""Public pages of a lead: unsubscribe, preference center, question, confirmation of consent."""
