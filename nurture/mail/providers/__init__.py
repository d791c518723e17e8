"""Email providers behind one port."""
