"""The way to PayTR: `port` is what billing needs of a provider, the rest is PayTR. Nobody else knows PayTR."""
