package scope

import (
	"slices"
	"strconv"
	"strings"
)

// maxPhrases is how much of a list a person reads before the number of the rest says more.
const maxPhrases = 5

// Describe names atoms for a person, the verbs of one object together: `get, list pods in namespace payments; audience
// "vault"`. It writes out five objects at most and counts the atoms of the others: `…; and 12 more`. Nothing is "".
func Describe(atoms []Atom) string {
	atoms = slices.SortedFunc(slices.Values(atoms), compareObjects)
	atoms = slices.Compact(atoms)
	var phrases []string
	for len(atoms) > 0 {
		if len(phrases) == maxPhrases {
			phrases = append(phrases, "and "+strconv.Itoa(len(atoms))+" more")
			break
		}
		n := sameObject(atoms)
		verbs := make([]string, n)
		for i, a := range atoms[:n] {
			verbs[i] = a.Verb
		}
		phrases = append(phrases, phrase(atoms[0], strings.Join(verbs, ", ")))
		atoms = atoms[n:]
	}
	return strings.Join(phrases, "; ")
}

// sameObject returns how many of the sorted atoms, from the first on, differ in their verb alone.
func sameObject(atoms []Atom) int {
	for i, a := range atoms {
		a.Verb = atoms[0].Verb
		if a != atoms[0] {
			return i
		}
	}
	return len(atoms)
}
