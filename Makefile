# `make` lists the targets. Long work lives in programs; this file says only what is run, in which order.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
STATE := $(CURDIR)/.state

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  \033[1m%-16s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ---- tools and clusters

CLUSTERS := dev/run clusters
export OUTPOSTS_KUBECONFIG ?= $(STATE)/kubeconfig

.PHONY: tools
tools: ## Kubernetes, containerd and Pulumi, built from pinned Go modules into the cache
	@dev/packages tools
	@dev/disk tools
	@dev/build
	@echo 'kubectl: dev/run kubectl   pulumi: dev/run pulumi   folders: dev/cache'

.PHONY: clusters
clusters: ## two local Kubernetes clusters, local and remote (CLUSTERS_UP="a b" for others)
	@dev/packages tools clusters
	@dev/disk tools clusters
	@QUIET=1 dev/build kube runtime netpol dns clusters
	@$(CLUSTERS) up $(CLUSTERS_UP)
	@echo '  $(PULUMI) version    (built by make tools or at its first use, unless one on PATH is new enough)'

.PHONY: clusters-down
clusters-down: ## end them; PURGE=yes removes their data too
	@$(CLUSTERS) down $(if $(filter yes,$(PURGE)),--purge)

.PHONY: clusters-status
clusters-status: ## what runs, where, with how much memory
	@$(CLUSTERS) status

# ---- outpost image and chart

VERSION := $(shell sed -n 's/^appVersion: *//p' charts/outpost/Chart.yaml)
OUTPOST_IMAGE := localhost/outposts/outpost:dev

.PHONY: image
image: ## the outpost's image as an archive, without Docker
	@dev/go run -C images/outpost . build -root $(CURDIR) -out $(STATE)/images/outpost.tar -ref $(OUTPOST_IMAGE) -version $(VERSION)

.PHONY: image-push
image-push: ## push the image: make image-push REGISTRY=registry.example.org/outposts (ARCH=amd64, as Go calls it; FORCE=yes takes a tag from a release)
	@[ -n "$(REGISTRY)" ] || { echo "usage: make image-push REGISTRY=registry.example.org/outposts"; exit 1; }
	@dev/go run -C images/outpost . build -root $(CURDIR) -out $(STATE)/images/outpost-$(VERSION).tar -ref $(REGISTRY)/outpost:$(VERSION) -version $(VERSION) -arch $(or $(ARCH),amd64) -revision $$(git rev-parse HEAD)
	@dev/go run -C images/outpost . push $(if $(filter yes,$(FORCE)),-force) $(STATE)/images/outpost-$(VERSION).tar $(REGISTRY)/outpost:$(VERSION)

RELEASE = $(STATE)/release/$(VERSION)

.PHONY: release
release: ## image for amd64 and arm64, charts, SBOMs, sums, signed: make release VERSION=0.2.0 KEY=outposts.key (REGISTRY=registry.example.org/outposts)
	@[ '$(origin VERSION)' = 'command line' ] && [ -n "$(KEY)" ] || { echo "usage: make release VERSION=0.2.0 KEY=outposts.key (REGISTRY=registry.example.org/outposts)" >&2; exit 2; }
	@dev/go run -C dev/release . make -root $(CURDIR) -version '$(VERSION)' -key "$$(realpath -m '$(KEY)')" -out '$(RELEASE)' $(if $(REGISTRY),-push '$(REGISTRY)')

.PHONY: verify-release
verify-release: ## check a release, here or in a registry: make verify-release VERSION=0.2.0 PUBLIC=outposts.pub (REGISTRY=registry.example.org/outposts)
	@[ '$(origin VERSION)' = 'command line' ] && [ -n "$(PUBLIC)" ] || { echo "usage: make verify-release VERSION=0.2.0 PUBLIC=outposts.pub (REGISTRY=registry.example.org/outposts)" >&2; exit 2; }
	@dev/go run -C dev/release . verify -version '$(VERSION)' -public "$$(realpath -m '$(PUBLIC)')" '$(or $(REGISTRY),$(RELEASE))'

.PHONY: bundle
bundle: ## a release and all that a site without internet needs, in one file: make bundle VERSION=0.2.0 KEY=outposts.key CHART=jupyterhub-4.4.0.tgz
	@[ '$(origin VERSION)' = 'command line' ] && [ -n "$(KEY)" ] && [ -n "$(CHART)" ] || { echo "usage: make bundle VERSION=0.2.0 KEY=outposts.key CHART=jupyterhub-4.4.0.tgz" >&2; exit 2; }
	@dev/packages tools images
	@dev/bundle '$(VERSION)' '$(KEY)' '$(CHART)'

.PHONY: chart
chart: ## render the chart's value sets and compare them (UPDATE=-update rewrites the golden files)
	go test ./charts -count=1 $(UPDATE)

.PHONY: run
run: ## the outpost on SQLite on this machine, pods in the cluster of KUBECONFIG
	@mkdir -p $(STATE)/run
	@[ -s $(STATE)/run/key ] || (umask 077; openssl rand -base64 32 | tr +/ -_ > $(STATE)/run/key)
	@echo "hub jupyterhub, password secret: curl -u jupyterhub:secret http://127.0.0.1:8080/services/"
	OUTPOST_CRYPT_KEY=$$(cat $(STATE)/run/key) usernames=jupyterhub passwords=secret OUTPOST_NAMESPACE=$${NAMESPACE:-default} \
	  SQL_DATABASE_URL=$(STATE)/run/outpost.sqlite OUTPOST_HOST_KEYS_DIR=$(STATE)/run/host_keys OUTPOST_LOG_FORMAT=text \
	  go run ./server/cmd/outpost --kubeconfig $${KUBECONFIG:-$(STATE)/kubeconfig} serve

# ---- hub images and verify

# The pairs of JupyterHub and its client, see images/hub; without a word, those whose tags the hub's stack names.
PAIRS := $(patsubst images/hub/%.in,%,$(wildcard images/hub/jupyterhub-*.in))
PAIR ?= $(shell for pair in $(PAIRS); do ! grep -qF "$$(images/build ref hub $$pair | cut -d: -f2)" Pulumi.local.yaml || echo $$pair; done)

.PHONY: hub-images
hub-images: ## the images of the hub and of JupyterLab as archives in the cache, without Docker (PAIR=jupyterhub-6.1)
	@dev/packages images
	@mkdir -p $(STATE)/images
	@for pair in $(PAIR); do images/build hub $$pair; done | tee $(STATE)/images/hub.path
	@images/build lab | tee $(STATE)/images/lab.path

.PHONY: images
images: image hub-images images-load ## the outpost's, the hub's and the lab's image, into the clusters' registry

.PHONY: images-load
images-load: ## what `make image hub-images` made, into the clusters' registry
	@for file in $(STATE)/images/outpost.tar $$(cat $(STATE)/images/hub.path $(STATE)/images/lab.path); do $(CLUSTERS) load $$file; done

.PHONY: verify
verify: ## start a server on each system, run a cell, stop it; of any deployed pair (STACK=local: the hub's stack)
	@e2e/verify/run $(or $(STACK),local)

# ---- stacks

PULUMI := dev/run pulumi
CHECKED = dev/stack $(STACK) || [ $$? = 1 ]
# SECRETS_PROVIDER is what encrypts the secrets of a new stack, as awskms://alias/pulumi; without it what the backend has.
SELECTED = $(PULUMI) stack select --create -s $(STACK) $(if $(SECRETS_PROVIDER),--secrets-provider '$(SECRETS_PROVIDER)') >/dev/null

.PHONY: stacks
stacks: ## build the Pulumi program, as each run of Pulumi does
	@dev/go build -C stacks -v -o $(STATE)/bin/stacks

# What a stack cannot make again, encrypted as its state is: keep it with copies of the volumes.
FILE ?= $(STATE)/$(notdir $(STACK)).keys.json

.PHONY: export-keys
export-keys: stacks ## the keys of a stack, encrypted, to keep outside: make export-keys STACK=local FILE=local.keys.json
	@[ -n "$(STACK)" ] && [ -n "$(FILE)" ] || { echo "usage: make export-keys STACK=local FILE=local.keys.json" >&2; exit 2; }
	@$(CHECKED)
	@umask 077; trap 'rm -f "$(FILE).all" "$(FILE).new"' EXIT; \
	  $(PULUMI) stack export -s $(STACK) > "$(FILE).all"; $(STATE)/bin/stacks keys < "$(FILE).all" > "$(FILE).new"; mv "$(FILE).new" "$(FILE)"
	@echo "The keys of stack $(STACK) are in $(FILE), encrypted as its state is."

# The state that an import replaces has what the keys alone lack, so its only copy is never overwritten.
.PHONY: import-keys
import-keys: ## a stack's state becomes these keys alone, for another cluster: make import-keys STACK=local FILE=local.keys.json
	@[ -n "$(STACK)" ] && [ -n "$(FILE)" ] || { echo "usage: make import-keys STACK=local FILE=local.keys.json" >&2; exit 2; }
	@[ -s "$(FILE)" ] || { echo "$(FILE) does not exist or is empty; make export-keys writes it" >&2; exit 2; }
	@[ ! -e "$(FILE).replaced" ] || { echo "$(FILE).replaced has the state that an earlier import replaced; nothing was changed. Move it away first" >&2; exit 2; }
	@$(CHECKED)
	@$(SELECTED)
	@umask 077; trap 'rm -f "$(FILE).new"' EXIT; $(PULUMI) stack export -s $(STACK) > "$(FILE).new"; mv "$(FILE).new" "$(FILE).replaced"
	@$(PULUMI) stack import -s $(STACK) --file "$(FILE)"
	@echo "The state of stack $(STACK) has its keys alone; the one before is in $(FILE).replaced. See docs/adopt.md."

.PHONY: rights
rights: stacks ## the Roles that a user needs for a stack, to ask the cluster's admin for: make rights STACK=prod SUBJECT=User:jane
	@[ -n "$(STACK)" ] && [ -n "$(SUBJECT)" ] || { echo "usage: make rights STACK=prod SUBJECT=User:jane (or Group:devs, ServiceAccount:ci/deployer)" >&2; exit 2; }
	@$(STATE)/bin/stacks rights Pulumi.$(notdir $(STACK)).yaml '$(SUBJECT)'

.PHONY: contexts
contexts: ## both stacks for two clusters that you have: make contexts LOCAL=kind-hub REMOTE=kind-remote (IMAGE=REPOSITORY:TAG)
	@[ -n "$(LOCAL)" ] && [ -n "$(REMOTE)" ] || { echo "usage: make contexts LOCAL=kind-hub REMOTE=kind-remote (IMAGE=REPOSITORY:TAG)" >&2; exit 2; }
	@dev/contexts '$(LOCAL)' '$(REMOTE)' $(if $(IMAGE),'$(IMAGE)')

.PHONY: preview
preview: ## what `up` would change: make preview STACK=local
	@[ -n "$(STACK)" ] || { echo "usage: make preview STACK=local"; exit 2; }
	@$(CHECKED)
	@$(SELECTED)
	@$(PULUMI) preview -s $(STACK) --diff

# ---- everything at once

.PHONY: up
ifdef STACK
up: ## from nothing to a hub that has started a server on each system; STACK=name: that stack alone, on its own cluster
	@dev/pulumi/installed >/dev/null || dev/packages tools
	@$(CHECKED)
	@$(SELECTED)
	@$(PULUMI) up -s $(STACK) $(PULUMI_FLAGS)
	@! dev/stack $(STACK) 2>/dev/null || e2e/verify/run $(STACK) --wait-only
else
up:
	@dev/up
endif

.PHONY: down
ifdef STACK
down: ## undo `up`: both stacks and the local clusters with their data; STACK=name: destroy that stack, its data stay
	@$(CHECKED)
	@$(PULUMI) destroy -s $(STACK) --exclude-protected $(PULUMI_FLAGS)
else
down:
	@dev/down
endif

.PHONY: remove-remote
remove-remote: ## a remote goes: drain, wait for its servers, destroy its stack, take its entry out: make remove-remote NAME=north (EVICT=yes FROM=65m)
	@[ -n "$${NAME-}" ] || { echo "usage: make remove-remote NAME=north (STACK=of-the-remote HUB=local EVICT=yes FROM=65m TEXT='Thank you.')" >&2; exit 2; }
	@dev/remove "$$NAME" "$${STACK-}" "$${HUB-}"

.PHONY: upgrade
upgrade: ## stacks get the version of this checkout: what runs, what changes, a way back, then one after the other: make upgrade (STACK="local north" YES=yes AWAY=south)
	@dev/upgrade $(STACK)

# ---- measurements

.PHONY: bench
bench: ## measure everything against the usual alternative (1 h, as root); results in bench/ and docs/performance.md
	@dev/packages tools clusters images tests
	@dev/disk tools clusters images tests
	@dev/build
	@mkdir -p $(STATE)/bin
	@go build -o $(STATE)/bin/bench ./e2e/bench
	@$(STATE)/bin/bench $(if $(ONLY),-only $(ONLY))

.PHONY: bench-quick
bench-quick: ## the same in minutes, with fewer rounds; results in .state/bench-quick, compared with the committed ones
	@dev/packages tools clusters images tests
	@dev/disk tools clusters images tests
	@dev/build
	@mkdir -p $(STATE)/bin
	@go build -o $(STATE)/bin/bench ./e2e/bench
	@$(STATE)/bin/bench -quick -out .state/bench-quick -page '' $(if $(ONLY),-only $(ONLY))

.PHONY: flood
flood: ## attack an outpost for 5 minutes while two hubs work (as root, on an idle machine; FLAGS="-outpost PROGRAM")
	@go run ./e2e/load flood $(FLAGS)

.PHONY: soak
soak: ## start, stop and kill for 30 minutes, and compare rows with pods (as root; FLAGS="-for 10m")
	@go run ./e2e/load soak $(FLAGS)

# ---- checks

.PHONY: build
build: ## compile everything
	go build ./...

TEST := go run -C dev/test . -root $(CURDIR) -logs $(STATE)/test
UNIT := unit,dev,addons,gateway,image,release,runner

.PHONY: test
test: ## all tests: unit, Python, and end to end on two real clusters (brings them up first)
	@dev/packages tools clusters images tests docs
	@dev/disk tools clusters images tests
	@dev/up
	@$(TEST) e2e apart $(UNIT),fuzz,docs,vuln hub-5.5 hub-6.1,alone

.PHONY: test-unit
test-unit: ## the tests that run offline, without root, in minutes
	@$(TEST) $(UNIT)

.PHONY: test-e2e
test-e2e: ## the tests on the clusters that `make up` left
	@$(TEST) e2e apart,alone

.PHONY: conformance
conformance: ## the Gateway API's own conformance tests on a local cluster, and their report (3 min, as root; ONLY=HTTPRouteWeight)
	@dev/packages tools clusters
	@dev/conformance/run

LINT := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.PHONY: lint
lint: ## format, import table, linters (vet among them, see .golangci.yml)
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "not formatted by gofmt: $$unformatted"; exit 1; }
	go test -run '^TestImports' .
	@for folder in . dev/clusters dev/kube/addons dev/kube/gateway dev/release dev/s3 dev/test images/outpost; do echo "== $$folder"; (cd $$folder; $(LINT) run ./...); done
	@# To know the types of these means to compile Kubernetes, cert-manager or Pulumi: only what reads text.
	@for folder in dev/acme dev/conformance dev/dns dev/kube dev/netpol dev/pulumi/cli dev/pulumi/kubernetes dev/pulumi/random; do echo "== $$folder"; \
	  (cd $$folder; $(LINT) run --build-tags conformance --enable-only gocyclo,lll,misspell ./...); done

.PHONY: docs
docs: ## the manual as a site, in .state/site; a link that leads nowhere is an error
	@dev/docs/run build
	@echo "The manual is at file://$(STATE)/site/index.html"

.PHONY: docs-serve
docs-serve: ## show the manual, and each change of it, at http://127.0.0.1:8000 (ADDRESS=127.0.0.1:8001)
	@dev/docs/run serve $(ADDRESS)

.PHONY: vuln
vuln: ## known vulnerabilities that our shipped programs reach
	@dev/vuln

.PHONY: fuzz
fuzz: ## each fuzz target for a minute (FUZZTIME=1m)
	@dev/fuzz $${FUZZTIME:-1m} .
