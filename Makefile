SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
# When the image was made, in seconds since 1970: with its commit, so that the same commit always has the same digest.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
# Where the image is made.
DIST ?= dist
# Seconds of fuzzing for each of the laws. Other fuzz tests get a tenth of it.
FUZZTIME ?= 60
# More arguments for go test, such as -run=Revoke or -v.
TESTARGS ?=
# Flags of the bench, such as -only=grant or -revocations=200.
BENCHARGS ?=
# KEEP=1 leaves the demo's cluster up.
KEEP ?=

# Tools are built once for each set of pins and each Go release, and found by the name of their folder ever after.
TOOLS := bin/tools/$(shell { go env GOVERSION; cat hack/tools/go.mod hack/tools/go.sum; } | sha256sum | cut -c1-16)
CONTROLLER_GEN := $(TOOLS)/controller-gen
GOLANGCI_LINT := $(TOOLS)/golangci-lint
KUSTOMIZE := $(TOOLS)/kustomize
BENCHSTAT := $(TOOLS)/benchstat
# Helm has a module of its own. Go builds it at its first use, which takes some minutes, and keeps it in its build cache.
HELM = "$$(go -C hack/helm tool -n helm.sh/helm/v4/cmd/helm)"

# What every build of Wayleave shares. No result depends on the folder that it is built in, nor on its being a clone.
BUILD_FLAGS = -trimpath -buildvcs=false -ldflags='-s -w -X main.version=$(VERSION)'

# But for those that only the night builds: to tidy them downloads all that Kueue and cert-manager are made of.
MODULES = $(sort $(dir $(shell find . -name go.mod -not -path './test/queues/managers/*' -not -path './test/certmanager/manager/*')))
# The templates of the chart that an installation without Helm gets as they are rendered.
MANAGER_TEMPLATES = controller.yaml webhook.yaml certs.yaml networkpolicy.yaml metrics.yaml
# What `make generate` writes, and nobody else; the chart is partly written by hand.
FIND_GENERATED = find api config/crd/bases config/manager charts -type f \
	\( -name 'zz_generated.*' -o -path 'api/applyconfiguration/*' -o -path 'config/crd/bases/*' -o -name manager.yaml -o -path 'charts/*' \)

##@ Everyday

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} \
		/^##@ / {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/wayleave
	CGO_ENABLED=0 go build $(BUILD_FLAGS) -o bin/wayleave ./cmd/wayleave

# Without a registry; the first time it builds ko, which takes some minutes.
.PHONY: image
image: ## Build the container image for amd64 and arm64 into dist/image, an OCI layout, with an SBOM for each beside it
	@mkdir -p '$(DIST)'
	SOURCE_DATE_EPOCH='$(SOURCE_DATE_EPOCH)' go run -C hack/image . -out='$(abspath $(DIST))' -version='$(VERSION)' -- $(BUILD_FLAGS)

.PHONY: demo
demo: node-free cluster-ready ## Play the incident-response story on a local cluster; KEEP=1 leaves the cluster up
	KEEP='$(KEEP)' go run ./hack/demo

.PHONY: clean
clean: ## Remove what was built in this folder
	rm -rf bin dist

##@ Code

.PHONY: generate
generate: $(CONTROLLER_GEN) ## Regenerate deep copies, apply configurations, CRDs, and what the chart shares with config
	@mkdir -p bin config/crd/bases
	@# What this run does not write again belongs to a type that is gone.
	@touch bin/.generated
	$(CONTROLLER_GEN) object applyconfiguration crd paths=./api/v1alpha1 output:crd:artifacts:config=config/crd/bases
	@$(FIND_GENERATED) ! -path 'charts/*' ! -name manager.yaml ! -newer bin/.generated -print -delete
	go run ./hack/chart
	$(HELM) template wayleave charts/wayleave --namespace wayleave-system $(addprefix -s templates/,$(MANAGER_TEMPLATES)) | go run ./hack/chart manager

.PHONY: fmt
fmt: $(GOLANGCI_LINT) ## Format all Go code
	$(GOLANGCI_LINT) fmt

.PHONY: lint
lint: $(GOLANGCI_LINT) ## Run the linters, the API linter among them
	$(GOLANGCI_LINT) config verify
	@for module in $(MODULES); do \
		if [[ -n $$(find "$$module" -name '*.go' -print -quit) ]]; then (cd "$$module" && $(abspath $(GOLANGCI_LINT)) run ./...); fi; \
	done

.PHONY: verify
verify: ## Regenerate and demand that nothing changes; check formatting, go.mod files and that all is committed
	@checksums() { $(FIND_GENERATED) -exec sha256sum {} + | sort -k2; }; \
	mkdir -p bin config/crd/bases; checksums >bin/.before; \
	$(MAKE) --no-print-directory generate; \
	checksums | diff bin/.before - || { echo 'verify: generated files were stale; commit what make generate wrote' >&2; exit 1; }
	@unformatted=$$(gofmt -l .); if [[ -n $$unformatted ]]; then echo "verify: run make fmt for $$unformatted" >&2; exit 1; fi
	@for module in $(MODULES); do \
		(cd "$$module" && go mod tidy -diff) || { echo "verify: run go mod tidy in $$module" >&2; exit 1; }; \
	done
	@if [[ -n $$(git status --porcelain) ]]; then \
		git status --short; echo 'verify: the tree is not clean: commit what is listed' >&2; exit 1; \
	fi

##@ Tests

# The tests of the node run in their folder: only there does go test show at once that one waits for another run's node.
.PHONY: test
test: node-free cluster-ready fuzz ## Run every test, with the control plane, and fuzz the laws; prints the times that were measured
	packages=$$(go list ./...); \
	export WAYLEAVE_TIMINGS=$$(mktemp); trap 'cat "$$WAYLEAVE_TIMINGS"; rm -f "$$WAYLEAVE_TIMINGS"' EXIT; \
	go test -race -timeout=30m $(TESTARGS) $$(grep -vE '/wayleave/(cmd|hack|test)/' <<<"$$packages"); \
	(cd test/cluster && go test -count=1 -timeout=40m $(TESTARGS)); \
	go test -count=1 -timeout=40m $(TESTARGS) $$(grep -E '/wayleave/(cmd|hack|test)/' <<<"$$packages" | grep -v '/test/cluster$$')
	cd test/gitops && go test -count=1 -timeout=15m $(TESTARGS) ./...

.PHONY: fuzz
fuzz: ## Fuzz each law for a minute; FUZZTIME=600 for ten
	hack/fuzz.sh $(FUZZTIME) ./internal/scope ./internal/delegation

.PHONY: nightly
nightly: FUZZTIME = 600
nightly: node-free cluster-ready fuzz ## Play a crash at every write, fuzz each law and drive at random for ten minutes, and run Kueue, JobSet and cert-manager (root)
	WAYLEAVE_CRASH_ALL=1 go test -count=1 -timeout=90m $(TESTARGS) ./test/crash
	WAYLEAVE_RANDOM_FOR=10m go test -count=1 -timeout=40m $(TESTARGS) ./test/random
	cd test/queues && go test -count=1 -timeout=30m $(TESTARGS) .
	cd test/certmanager && go test -count=1 -timeout=30m $(TESTARGS) .

.PHONY: bench
bench: ## Measure what Wayleave costs beside a bare API server, as a table of ratios; BENCHARGS=-h shows the sizes
	go run ./test/bench $(BENCHARGS)

##@ Local cluster

# For machines that have none. Where one is installed, it does as well.
.PHONY: helm
helm: ## Build Helm 4 into bin
	@mkdir -p bin
	@cp -f $(HELM) bin/helm
	@echo 'export PATH=$(CURDIR)/bin:$$PATH'

.PHONY: cluster
cluster: cluster-ready ## Start a bare local cluster, without Wayleave (with it: make demo KEEP=1)
	go run ./hack/cluster up

.PHONY: cluster-load
cluster-load: image ## Load the image of Wayleave, and those of the samples, into the node of the local cluster
	go run ./hack/cluster load

.PHONY: cluster-down
cluster-down: ## End the local cluster, or that of make demo KEEP=1
	go run ./hack/cluster down

# Before anything that wants a node: it fails at once if a kept cluster has the only one.
.PHONY: node-free
node-free:
	@go run ./hack/cluster check

# Before anything that starts a cluster: what it needs is installed where that can be done, and built, so that the
# first build shows its progress instead of being a silence in a test.
.PHONY: cluster-ready
cluster-ready:
	@if [[ $$EUID -eq 0 ]] && command -v apt-get >/dev/null; then hack/cluster/packages.sh || echo 'going on without a node'; fi
	@go run ./hack/cluster build

.PHONY: cluster-packages
cluster-packages: ## Install the Debian packages that a node needs (root)
	hack/cluster/packages.sh

##@ Release

.PHONY: install-manifest
install-manifest: $(KUSTOMIZE) ## Write dist/install.yaml, for kubectl apply --server-side, dist/install-warn.yaml, which only reports, and dist/static
	@mkdir -p dist/static
	$(KUSTOMIZE) build config/default >dist/install.yaml
	$(KUSTOMIZE) build config/warn >dist/install-warn.yaml
	$(KUSTOMIZE) build config/static >dist/static/policies.yaml

##@ Tools

.PHONY: tools
tools: $(CONTROLLER_GEN) $(GOLANGCI_LINT) $(KUSTOMIZE) $(BENCHSTAT) ## Build all pinned tools into bin/tools

build-tool = cd hack/tools && go build -ldflags='-s -w' -o '$(abspath $@)'

$(CONTROLLER_GEN):
	$(build-tool) sigs.k8s.io/controller-tools/cmd/controller-gen

# golangci-lint with the API linter compiled in.
$(GOLANGCI_LINT):
	@echo 'building the linters, which takes some minutes the first time'
	$(build-tool) sigs.k8s.io/kube-api-linter/cmd/golangci-lint-kube-api-linter

$(KUSTOMIZE):
	$(build-tool) sigs.k8s.io/kustomize/kustomize/v5

$(BENCHSTAT):
	$(build-tool) golang.org/x/perf/cmd/benchstat
