//go:build unix

package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/wayleave/wayleave/test/operator"
)

// auditEvent is the part that is read of a line of the API server's audit log.
type auditEvent struct {
	Verb       string `json:"verb"`
	RequestURI string `json:"requestURI"`
	User       struct {
		Username string `json:"username"`
	} `json:"user"`
	ObjectRef struct {
		Resource, Subresource, Name string
	} `json:"objectRef"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
	Received time.Time `json:"requestReceivedTimestamp"`
	Answered time.Time `json:"stageTimestamp"`
}

// what is the verb and the resource of a request.
func (e auditEvent) what() string {
	what := e.Verb + " " + e.ObjectRef.Resource
	if e.ObjectRef.Subresource != "" {
		what += "/" + e.ObjectRef.Subresource
	}
	if strings.Contains(e.RequestURI, "dryRun=All") {
		what += " (dry run)"
	}
	return what
}

// auditEvents reads the lines of an audit log, in the order in which the requests were answered.
func auditEvents(raw []byte) ([]auditEvent, error) {
	var events []auditEvent
	for line := range bytes.Lines(raw) {
		if !bytes.HasSuffix(line, []byte("\n")) { // it is being written
			break
		}
		var e auditEvent
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("reading the audit log: %w", err)
		}
		events = append(events, e)
	}
	return events, nil
}

// window is a time span.
type window struct{ from, to time.Time }

func (w window) has(e auditEvent) bool { return !e.Received.Before(w.from) && e.Received.Before(w.to) }

// requests reads the audit log: what the controller asked, and the pods that were created.
func (s *site) requests() ([]auditEvent, error) {
	time.Sleep(500 * time.Millisecond) // for the log to be written
	raw, err := os.ReadFile(s.cluster.AuditLogPath())
	if err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	events, err := auditEvents(raw)
	return slices.DeleteFunc(events, func(e auditEvent) bool {
		return e.User.Username != controllerUser && e.what() != "create pods" || e.ObjectRef.Resource == "leases" || e.Verb == "watch"
	}), err
}

// controllerUser is the user name of the controller.
const controllerUser = "system:serviceaccount:" + operator.Namespace + ":" + controller

// breakdown says of each request in the windows, in their order, when it began and how long it took, at p50.
func breakdown(events []auditEvent, windows []window) string {
	type request struct {
		what         string
		after, takes series
	}
	all := map[string]*request{}
	for _, w := range windows {
		seen := map[string]int{}
		for _, e := range events {
			if !w.has(e) {
				continue
			}
			seen[e.what()]++
			key := e.what()
			if n := seen[key]; n > 1 {
				key = fmt.Sprintf("%s #%d", key, n)
			}
			if all[key] == nil {
				all[key] = &request{what: key}
			}
			all[key].after = append(all[key].after, e.Received.Sub(w.from))
			all[key].takes = append(all[key].takes, e.Answered.Sub(e.Received))
		}
	}
	var parts []string
	for _, r := range slices.SortedFunc(maps.Values(all), func(a, b *request) int { return cmp.Compare(a.after.p50(), b.after.p50()) }) {
		if 2*len(r.after) > len(windows) { // most have it
			parts = append(parts, fmt.Sprintf("%s after %s for %s", r.what, short(r.after.p50()), short(r.takes.p50())))
		}
	}
	return strings.Join(parts, "; ")
}

// writes counts writes of each kind.
type writes map[string]int

func (w writes) String() string {
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(w)) {
		parts = append(parts, fmt.Sprintf("%d × %s", w[kind], kind))
	}
	return strings.Join(parts, ", ")
}

func (w writes) total() (n int) {
	for _, times := range w {
		n += times
	}
	return n
}

// writesIn counts what the controller wrote in a window. Questions and dry runs write nothing.
func writesIn(events []auditEvent, in window) writes {
	found := writes{}
	for _, e := range events {
		if in.has(e) && e.User.Username == controllerUser && e.writes() {
			found[e.what()]++
		}
	}
	return found
}

// writes says whether the API server was asked to write.
func (e auditEvent) writes() bool {
	return !slices.Contains([]string{"get", "list", "watch"}, e.Verb) && e.ObjectRef.Resource != "subjectaccessreviews" &&
		!strings.Contains(e.what(), "dry run")
}

// writesPer says what the controller wrote in each window, and how often.
func writesPer(events []auditEvent, windows []window) string {
	kinds := map[string]int{}
	for _, w := range windows {
		found := writesIn(events, w)
		kinds[fmt.Sprintf("%d writes (%s)", found.total(), found)]++
	}
	var parts []string
	for _, kind := range slices.SortedFunc(maps.Keys(kinds), func(a, b string) int { return cmp.Compare(kinds[b], kinds[a]) }) {
		parts = append(parts, fmt.Sprintf("%d times %s", kinds[kind], kind))
	}
	return strings.Join(parts, "; ")
}

// spans says of each kind of request in a window how many there were, and between what times.
func spans(events []auditEvent, w window) string {
	type span struct {
		n           int
		first, last time.Time
	}
	all := map[string]*span{}
	for _, e := range events {
		if !w.has(e) {
			continue
		}
		s := all[e.what()]
		if s == nil {
			s = &span{first: e.Received}
			all[e.what()] = s
		}
		s.n++
		if e.Received.Before(s.first) {
			s.first = e.Received
		}
		if e.Answered.After(s.last) {
			s.last = e.Answered
		}
	}
	names := slices.SortedFunc(maps.Keys(all), func(a, b string) int { return all[a].first.Compare(all[b].first) })
	parts := make([]string, len(names))
	for i, name := range names {
		s := all[name]
		parts[i] = fmt.Sprintf("%d × %s from %s to %s", s.n, name, short(s.first.Sub(w.from)), short(s.last.Sub(w.from)))
	}
	return strings.Join(parts, "; ")
}
