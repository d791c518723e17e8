"""Salesforce: leads with four fields of ours."""
