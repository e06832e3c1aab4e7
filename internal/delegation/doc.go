// Package delegation decides. Evaluate takes a path, the chain of its hops, the facts that were looked up and the time,
// and returns one verdict. Controllers, webhooks and command line tools all ask it, and nothing else decides. PlanFor
// says which objects of a grant to remove, create and keep; HopStatus and PathStatus say what the status reports.
//
// The package is pure: no client, no context, no logger, no clock, no randomness. Same input, same verdict.
package delegation
