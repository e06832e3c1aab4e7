//go:build unix

package main

import "testing"

func TestKeeps(t *testing.T) {
	for value, want := range map[string]bool{
		"": false, "0": false, "no": false, "false": false, "False": false,
		"1": true, "yes": true, "true": true,
	} {
		if got := keeps(value); got != want {
			t.Errorf("KEEP=%s keeps the cluster: %t, want %t", value, got, want)
		}
	}
}
