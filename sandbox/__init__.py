"""Stand-ins of the outside world that behave like it; they know nothing of the services they face."""
