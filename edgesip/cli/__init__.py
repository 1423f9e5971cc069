"""The command line; it talks to a running server over the control socket."""
