"""Where state outlives the process."""
