package scope

import (
	"slices"
	"strconv"
	"strings"
)

// maxPhrases is how many objects are written out before the rest is only counted.
const maxPhrases = 5

// Describe lists permissions in words, the verbs of one object together: `get, list pods in namespace payments;
// audience "vault"`. It writes out five objects at most and counts the permissions of the others: `…; and 12 more`.
// Nothing is "".
func Describe(permissions []Permission) string {
	permissions = slices.SortedFunc(slices.Values(permissions), compareObjects)
	permissions = slices.Compact(permissions)
	var phrases []string
	for len(permissions) > 0 {
		if len(phrases) == maxPhrases {
			phrases = append(phrases, "and "+strconv.Itoa(len(permissions))+" more")
			break
		}
		n := sameObject(permissions)
		verbs := make([]string, n)
		for i, p := range permissions[:n] {
			verbs[i] = p.Verb
		}
		phrases = append(phrases, phrase(permissions[0], strings.Join(verbs, ", ")))
		permissions = permissions[n:]
	}
	return strings.Join(phrases, "; ")
}

// sameObject returns how many of the sorted permissions, from the first on, differ in their verb alone.
func sameObject(permissions []Permission) int {
	for i, p := range permissions {
		p.Verb = permissions[0].Verb
		if p != permissions[0] {
			return i
		}
	}
	return len(permissions)
}
