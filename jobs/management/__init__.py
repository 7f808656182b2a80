"""What manage.py learns from this app."""
