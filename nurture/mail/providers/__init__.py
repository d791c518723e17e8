"""Email providers behind one interface."""
