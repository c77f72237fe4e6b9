"""Documents people get: the invoice as PDF."""
