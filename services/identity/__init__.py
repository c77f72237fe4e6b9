"""Who you are: companies, users, roles, log-in, sessions."""
