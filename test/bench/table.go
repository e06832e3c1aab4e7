package main

import (
	"fmt"
	"io"
	"time"
)

// row is a measurement and its floor: the least that the same outcome costs without Wayleave, or without the disturbance
// that the row is about, measured in the same run. Where it can, the bench takes the samples in turns.
type row struct {
	what        string
	ours, floor series
}

// writeTable writes rows as a table in GitHub's Markdown.
func writeTable(w io.Writer, rows []row) {
	fmt.Fprintln(w, "| what | Wayleave p50 | Wayleave p99 | floor p50 | floor p99 | ratio p50 | ratio p99 |")
	fmt.Fprintln(w, "| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
	for _, r := range rows {
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s |\n", r.what,
			short(r.ours.p50()), short(r.ours.p99()), short(r.floor.p50()), short(r.floor.p99()),
			ratio(r.ours.p50(), r.floor.p50()), ratio(r.ours.p99(), r.floor.p99()))
	}
}

func ratio(ours, floor time.Duration) string {
	if floor == 0 {
		return "–"
	}
	return fmt.Sprintf("%.3g", float64(ours)/float64(floor))
}

// short formats a duration with three significant digits.
func short(d time.Duration) string {
	for _, unit := range []struct {
		of   time.Duration
		name string
	}{{time.Second, "s"}, {time.Millisecond, "ms"}, {time.Microsecond, "µs"}} {
		if d >= unit.of {
			return fmt.Sprintf("%.3g %s", float64(d)/float64(unit.of), unit.name)
		}
	}
	return d.String()
}

// memory is what a process of Wayleave takes, quiet and disturbed.
type memory struct {
	process        string
	quiet, strange usage
}

// usage is the resident memory of a process, in bytes.
type usage struct{ now, peak int64 }

// writeMemory writes memory as a table in GitHub's Markdown, or nothing if none was measured.
func writeMemory(w io.Writer, all []memory) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintln(w, "\n| resident memory, MiB | quiet | with strangers' RBAC | difference |")
	fmt.Fprintln(w, "| --- | ---: | ---: | ---: |")
	for _, m := range all {
		writeUsage(w, m.process+", at the end", m.quiet.now, m.strange.now)
		writeUsage(w, m.process+", at most", m.quiet.peak, m.strange.peak)
	}
}

func writeUsage(w io.Writer, what string, quiet, strange int64) {
	const mebibyte = 1 << 20
	fmt.Fprintf(w, "| %s | %.1f | %.1f | %+.1f |\n", what,
		float64(quiet)/mebibyte, float64(strange)/mebibyte, float64(strange-quiet)/mebibyte)
}
