"""SendGrid: Mail Send, Event Webhook and Inbound Parse."""
