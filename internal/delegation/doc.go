// Package delegation decides. Evaluate looks at a path, the chain of its hops, the facts that somebody had to look up,
// and the time, and answers with one verdict; controllers, webhooks and command line tools all ask it, and nothing
// else decides. Plan says which objects of a grant to remove, make and keep.
//
// The package is pure: no client, no context, no logger, no clock, no randomness. Same input, same verdict.
package delegation
