"""The leased queue under mail and CRM records: claim, mark as sending, write results, heartbeat, circuit breakers."""
