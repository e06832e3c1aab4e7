//go:build unix

package random

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// step is one thing that somebody does. Which of the numbers mean something depends on the action.
type step struct {
	Do string `json:"do"`
	// At is when it was done, in milliseconds since the first step.
	At int64 `json:"at,omitempty"`
	// Who is the user.
	Who int `json:"who,omitempty"`
	// Path, Hop and Parent are numbers of paths and hops; a negative parent is none.
	Path   int `json:"path,omitempty"`
	Hop    int `json:"hop,omitempty"`
	Parent int `json:"parent,omitempty"`
	// On is the number of a namespace in which hops work.
	On int `json:"on,omitempty"`
	// Scope has a bit for each thing that may be done; Wide does not cut it to what is above.
	Scope int  `json:"scope,omitempty"`
	Wide  bool `json:"wide,omitempty"`
	// Life chooses a lifetime, and Kind one of what the action can do.
	Life int `json:"life,omitempty"`
	Kind int `json:"kind,omitempty"`
}

// tell is the story of a run that broke a law, in words.
func (w *world) tell(violations []string) string {
	return fmt.Sprintf("broken after %d steps: %s\nwhat was done:\n  %s", len(w.story), strings.Join(violations, "\n"),
		strings.Join(w.words, "\n  "))
}

// shortest is the story that this process has kept, and its length.
var shortest struct {
	file  string
	steps int
}

// keep writes the steps of a run that broke a law, unless a shorter one is kept already.
func (w *world) keep(t *testing.T) {
	t.Helper()
	if shortest.file != "" && shortest.steps <= len(w.story) {
		return
	}
	if shortest.file == "" {
		shortest.file = filepath.Join("testdata", "stories", "found-"+time.Now().UTC().Format("20060102-150405")+".json")
	}
	shortest.steps = len(w.story)
	var text bytes.Buffer
	for i, s := range w.story {
		line, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		text.WriteString(map[bool]string{true: "[\n  ", false: ",\n  "}[i == 0])
		text.Write(line)
	}
	text.WriteString("\n]\n")
	if err := os.MkdirAll(filepath.Dir(shortest.file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(shortest.file, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Logf("its steps are in test/random/%s: commit it with what mends it", shortest.file)
}
