//go:build unix

// Package crd tests that each rule of Wayleave's kinds has a file in config/invalid that violates it, and reads these
// files for the tests that apply them.
package crd

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/wayleave/wayleave/test/operator"
)

// File is a file of config/invalid, or of config/invalid/base. Its README explains the comments.
type File struct {
	// Name is the file's path within config/invalid, without the extension.
	Name string
	// Denied are the texts that the error must contain, and the warning where only strict admission denies it; none in a base.
	Denied []string
	// Strict means that it is denied under strict admission only.
	Strict bool
	// Given are the names of the files that are applied first.
	Given []string
	// As is the user who applies the file; empty for the user who applies the others.
	As string
	// Update means that the second object is an update of the first.
	Update bool
	// Objects are what is applied.
	Objects []*unstructured.Unstructured
}

// Read reads a file, after the replacer has changed its text.
func Read(root, name string, replacer *strings.Replacer) (File, error) {
	f := File{Name: name}
	raw, err := os.ReadFile(filepath.Join(root, "config", "invalid", name+".yaml"))
	if err != nil {
		return f, fmt.Errorf("reading a file of config/invalid: %w", err)
	}
	text := replacer.Replace(string(raw))
	for line := range strings.Lines(text) {
		comment, ok := strings.CutPrefix(strings.TrimSpace(line), "# ")
		if !ok {
			break
		}
		key, value, _ := strings.Cut(comment, ": ")
		switch key {
		case "denied":
			f.Denied = append(f.Denied, value)
		case "given":
			f.Given = append(f.Given, strings.TrimSuffix(value, ".yaml"))
		case "as":
			f.As = value
		case "strict":
			f.Strict = value == "true"
		case "update":
			f.Update = value == "true"
		}
	}
	if f.Objects, err = operator.Decode([]byte(text)); err != nil {
		return f, fmt.Errorf("reading %s of config/invalid: %w", name, err)
	}
	return f, nil
}

// Names returns the sorted names of all files of a folder of config/invalid: "" for the files that are rejected, "base"
// for those that are accepted.
func Names(root, folder string) ([]string, error) {
	matches, err := filepath.Glob(filepath.Join(root, "config", "invalid", folder, "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("listing config/invalid: %w", err)
	}
	for i, match := range matches {
		matches[i] = filepath.Join(folder, strings.TrimSuffix(filepath.Base(match), ".yaml"))
	}
	return matches, nil
}
