"""The relay's path inside the kernel: what it is loaded with, where packets go, and who may use it."""
