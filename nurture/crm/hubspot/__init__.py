"""HubSpot: contacts with four properties of ours."""
