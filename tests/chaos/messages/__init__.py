"""The side of a run that gets messages: a receiver, the endpoints that it has, and readers of the feed."""
