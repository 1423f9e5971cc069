#!/bin/sh
# Compile the kernel program: packaging/build-bpf.sh [OBJECT]
#
# With Debian 12's clang-14 and linux-libc-dev the object is the one that is committed, octet by octet.
set -eu
folder=$(cd "$(dirname "$0")/../edgesip/relay/kernel" && pwd)
object=${1:-$folder/relay.bpf.o}
case $object in /*) ;; *) object=$PWD/$object ;; esac
cd "$folder" # its own name is all that the object knows of where it was
for headers in /usr/include/*-linux-gnu; do
	test -e "$headers/asm/types.h" && break
done
# Two optimizations are off whose code a verifier takes from CAP_PERFMON only: one memory access for two pointers,
# and one place of the stack for a pointer now and a number then.
exec "${CLANG:-clang-14}" -target bpfel -mcpu=v3 -O2 -Wall -Wextra -Werror \
	-mllvm -simplifycfg-sink-common=false -mllvm -no-stack-slot-sharing \
	-I "$headers" -c relay.bpf.c -o "$object"
