// Package scope is the algebra of authority: what a scope allows, whether it fits inside another scope or inside what
// RBAC grants a subject, what is missing if it does not, and what never fits in any scope.
//
// Authority is a set of permissions. A permission is one verb on one resource or subresource of one API group, in one
// namespace or on the cluster, for one object name or for any; or one verb on one non-resource URL; or one token
// audience. Parse turns a v1alpha1.Scope into such a Set, and rejects malformed and too large scopes first, so that
// nothing after it needs a bound. EscalationRisks reports what must not be granted to any bearer.
//
// Everything here is pure: the same input gives the same answer, byte for byte, in bounded time. No answer depends
// on a clock, a client or a random number.
package scope
