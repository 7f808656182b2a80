"""The demo site: imported by nothing but `manage.py demo`."""
