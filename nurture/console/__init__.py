"""The console: pages for marketers and sales, with users, roles and actions. Only `app` and below import NiceGUI."""
