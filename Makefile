# make run     set everything up and run a server in the foreground
# make test    install what the tests need and run them

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# What the tests use: phones, namespaces with NAT routers, captures, names, a Debian to install in, a compiler.
TEST_PACKAGES := baresip sip-tester nftables tcpdump iproute2 conntrack linphone-cli debootstrap dnsmasq-base \
	kamailio gcc libc6-dev python3-dev openssl clang-14 bpftool stun-client

# More options for the server: make run ARGS="--advertise 203.0.113.5"
ARGS ?=

.PHONY: help setup run test test-long lint bench deb packages
.NOTPARALLEL:

help:
	@echo 'make run        set everything up and run a server; ARGS="--advertise ADDR" adds options'
	@echo 'make test       install what the tests need and run them'
	@echo 'make test-long  the tests that take long'
	@echo 'make deb        the Debian package, in dist/'
	@echo 'make lint       style and types'
	@echo 'make setup      only set up: $(BIN)/edgesip is there afterwards'

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "edgesip needs Python 3.11 or later; this is $$($(PYTHON) -V 2>&1)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || $(call install,python3-venv) || exit 1
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@echo 'setting up $(VENV), this takes a minute'
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

run: setup
	@user=$$(hostname -I 2>/dev/null | cut -d' ' -f1); host=$${user:-127.0.0.1}; \
	echo; \
	echo 'In a second terminal, add two users; each gets a password:'; \
	echo; \
	echo '    $(BIN)/edgesip subscriber add alice'; \
	echo '    $(BIN)/edgesip subscriber add bob'; \
	echo; \
	echo "Type into each phone:  server (domain, registrar) $$host   port 5060   transport UDP"; \
	echo '                       user alice (or bob), and the password. Then alice calls bob.'; \
	echo; \
	echo '    $(BIN)/edgesip ul lookup alice      shows where her phone is'; \
	echo; \
	echo 'Behind a NAT, as in most clouds: make run ARGS="--advertise PUBLIC-ADDRESS"'; \
	echo 'Ctrl-C ends the server.'; \
	echo
	@exec $(BIN)/edgesip run --profile nat-sbc $(ARGS)

test: setup packages lint
	$(BIN)/pytest -q -n 2 -m 'not wire and not long'
	$(BIN)/pytest -q -n 4 -m 'wire and not long'

# pytest says 5 when nothing was selected
test-long: setup packages
	$(BIN)/pytest -q -n 4 -m long || test $$? -eq 5

# Beside Kamailio and rtpengine, in about ten minutes: make bench BENCH="registers calls --quick"
bench: setup
	$(BIN)/python bench/run.py $(BENCH)

# The Debian package, in dist/
deb:
	@packaging/build-deb.sh

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Without root, or without a package server, the tests that need them are skipped and say so.
packages:
	@missing=$$(for name in $(TEST_PACKAGES); do \
		dpkg-query -W -f '$${Status}' $$name 2>/dev/null | grep -q 'ok installed' || echo $$name; done); \
	test -z "$$missing" || $(call install,$$missing) || echo 'going on: the wire tests will be skipped'

# Debian packages: installed as root, else named; fails when they are not there afterwards.
define install
{ if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	echo "installing Debian packages:" $(1); \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $(1); \
else \
	echo "these Debian packages are needed:" $(1); \
	echo "as root: apt-get install" $(1); false; \
fi; }
endef
