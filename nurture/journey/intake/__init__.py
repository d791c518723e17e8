"""Import leads from files and the API."""
