"""Where you work: workspaces. The only service that talks to Docker and to Traefik."""
