"""Who may use the console: users, sessions, signing in by password or OpenID Connect, and requests of other sites."""
