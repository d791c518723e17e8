"""The web application: public pages, pages of reps and managers, the API, and webhooks."""
