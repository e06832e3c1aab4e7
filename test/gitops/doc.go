// Package gitops tests that one commit which changes paths, hops and workloads converges with the tools that apply commits:
// with the library with which Flux applies, and with the engine that orders and applies for Argo CD. It is a module of its
// own, so that their dependencies stay out of the project's.
package gitops
