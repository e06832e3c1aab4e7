package main

import (
	"fmt"
	"io"
	"time"
)

// row is a measurement and its floor: the least that the same outcome costs without Wayleave, measured in the same run,
// sample by sample in turns.
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
