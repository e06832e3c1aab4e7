// Package choice turns the bytes of a fuzzer into choices. It is apart from testutil so that fuzz tests of pure packages build
// without a client.
package choice

import "slices"

// Source turns the bytes of a fuzzer into choices. When it runs dry it always chooses the first.
type Source []byte

// Number chooses a number from 0 to below-1.
func (c *Source) Number(below int) int {
	if len(*c) == 0 {
		return 0
	}
	n := int((*c)[0]) % below
	*c = (*c)[1:]
	return n
}

// Some chooses at least the given number of texts, before duplicates are dropped, and at most two more.
func (c *Source) Some(least int, from ...string) []string {
	var picked []string
	for range least + c.Number(3) {
		if text := from[c.Number(len(from))]; !slices.Contains(picked, text) {
			picked = append(picked, text)
		}
	}
	return picked
}
