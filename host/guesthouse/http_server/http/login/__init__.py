"""Logging in and out, and the cookies of logins."""
