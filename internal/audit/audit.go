// Package audit writes one JSON line for each decision and each transition, so that a path can be reconstructed from
// the lines of all processes. A line never holds a token or the content of a Secret.
package audit

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// Verb is what a line is about.
type Verb string

// The verbs.
const (
	// Admit: an admission request was answered.
	Admit Verb = "admit"
	// Change: a path or a hop changed its state.
	Change Verb = "transition"
	// Grant: a hop gets another identity, or other permissions than before.
	Grant Verb = "grant"
	// Use: a use of a hop begins.
	Use Verb = "use"
	// Delete: a path or a hop does not exist any more.
	Delete Verb = "delete"
)

// Record is one line.
type Record struct {
	// Time is when it happened, in UTC.
	Time time.Time `json:"time"`
	// Verb is what happened.
	Verb Verb `json:"verb"`
	// Actor is who asked, or who caused it; the controller itself where no user did.
	Actor string `json:"actor"`
	// Object is what it happened to: kind, and namespace/name.
	Object string `json:"object"`
	// Operation is the admission request's operation.
	Operation string `json:"operation,omitempty"`
	// Decision is Allow, Deny or Undetermined.
	Decision string `json:"decision"`
	// Reason is out of the vocabulary.
	Reason v1alpha1.Reason `json:"reason"`
	// Message is what the user, or the status, got.
	Message string `json:"message,omitempty"`
	// Path and PathUID are the path of the chain; empty where it was not found.
	Path    string `json:"path,omitempty"`
	PathUID string `json:"pathUID,omitempty"`
	// Hop and HopUID are the hop asked about.
	Hop    string `json:"hop,omitempty"`
	HopUID string `json:"hopUID,omitempty"`
	// Chain is the hops from the first to the one asked about.
	Chain []string `json:"chain,omitempty"`
	// DryRun is true for a request that changes nothing.
	DryRun bool `json:"dryRun,omitempty"`
}

// Log writes records. It is safe for concurrent use.
type Log struct {
	mu  sync.Mutex
	out io.Writer
}

// New returns a log that writes to out.
func New(out io.Writer) *Log { return &Log{out: out} }

// Write writes one record. A record that cannot be written is an error: no decision takes effect unrecorded.
func (l *Log) Write(r Record) error {
	r.Time = r.Time.UTC()
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encoding an audit record: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.out.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("writing an audit record: %w", err)
	}
	return nil
}

// About fills in what an input says of path, hop and chain. A hop belongs to the path that it has pinned, whether or not
// that exists any more.
func (r Record) About(in delegation.Input) Record {
	if p := in.Path; p != nil {
		r.Path, r.PathUID = p.Namespace+"/"+p.Name, string(p.UID)
	}
	for _, h := range in.Chain.Hops {
		r.Chain = append(r.Chain, delegation.HopKey(h).String())
	}
	if h := in.Chain.Last(); h != nil {
		r.Hop, r.HopUID = delegation.HopKey(h).String(), string(h.UID)
		if r.Path == "" && h.Spec.PathRef.Name != "" {
			r.Path = delegation.PathKey(h).String()
		}
		if h.Status.PathUID != "" {
			r.PathUID = h.Status.PathUID
		}
	}
	return r
}
