"""The platform as containers on one host."""
