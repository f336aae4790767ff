# Coffer. `make help` lists the targets.
PREFIX  ?= /usr/local
DESTDIR ?=
VERSION := $(shell cat VERSION)

.PHONY: help build demo test test-long bench check format dist install uninstall clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

build:  ## bin/coffer, bin/coffer-runtime, and the registry client and the prober beside them
	@Scripts/install-dependencies build
	@Scripts/build

demo:  ## a real container, what confines it, and three attacks on it that fail
	@Scripts/demo

test:  ## everything but the long tests: checks, unit tests, integration tests
	@Scripts/test

test-long:  ## the long tests
	@Scripts/test --long

bench:  ## Coffer and its peers, measured in one run
	@Scripts/install-dependencies build bench
	@Scripts/build
	@Benchmarks/run

check:  ## formatter, linters, layers, bans, sizes
	@Scripts/check

format:  ## rewrites the Swift sources as the formatter wants them
	@swift format --in-place --recursive --parallel Sources Tests Package.swift

dist:  ## dist/coffer-VERSION-linux-ARCH.tar.gz and .deb
	@Scripts/install-dependencies build dist
	@Scripts/build
	@Scripts/dist

# No dependency on `build`: `sudo make install` must not compile as root.
install:  ## what `make build` left, into PREFIX (/usr/local) below DESTDIR
	@Scripts/install-files "$(DESTDIR)" "$(PREFIX)"

uninstall:  ## removes what `make install` put there
	@Scripts/install-files --remove "$(DESTDIR)" "$(PREFIX)"

clean:  ## removes everything that was built
	rm -rf .build bin dist
