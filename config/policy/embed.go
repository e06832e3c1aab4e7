// Package policy has the policies in the program, so that the controller can tell whether those that are installed are its own.
package policy

import "embed"

// Files has each policy with its binding, in a file of its name.
//
//go:embed *.yaml
var Files embed.FS
