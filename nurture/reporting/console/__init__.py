"""What the pages of the console show: each function reads in one transaction, in a constant number of statements."""
