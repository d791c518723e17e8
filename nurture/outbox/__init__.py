"""The leased queue under mail and CRM records: claim, stamp, settle, heartbeat, circuit breakers."""
