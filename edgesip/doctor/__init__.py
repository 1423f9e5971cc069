"""`edgesip doctor`: what a server needs of its host, probed here and judged there."""
