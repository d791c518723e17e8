"""Find leads that nobody worked, from exports of a CRM alone: what it costs, and what the policy would do."""
