// Package grants creates and deletes what hops hold in the cluster: accounts, Roles and bindings, Secrets and tokens. It
// decides nothing: internal/delegation plans, and this package observes, applies and removes. Its functions take a hop
// and a grant, so that each controller, and each replica, can use it.
package grants
