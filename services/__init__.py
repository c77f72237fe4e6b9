"""The services. Each owns its data and imports itself and `shared`, never another."""
