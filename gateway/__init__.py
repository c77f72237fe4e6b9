"""The front door: browser pages, API routing, sessions to service tokens, who may enter a workspace."""
