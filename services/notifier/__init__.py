"""What you are told: mails, each once, in the reader's language."""
