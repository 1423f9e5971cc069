#!/bin/sh
# The bundle's interpreter and nothing else: no settings of the user's Python, no site-packages, no cache files.
exec /usr/lib/edgesip/bin/python3 -I -S -B -X utf8 /usr/lib/edgesip/main.py "$@"
