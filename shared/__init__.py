"""The kernel: what every service stands on. It holds no business rule and imports no service."""
