"""A mail server that keeps every mail and passes none on, with a page to read them."""
