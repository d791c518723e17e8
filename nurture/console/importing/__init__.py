"""Import of uploaded files: kept in private folders, read and imported in a process of their own."""
