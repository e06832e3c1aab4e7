package main

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// upTo is a series of 1, 2, … n milliseconds, shuffled.
func upTo(n int) series {
	s := make(series, n)
	for i, j := range rand.Perm(n) {
		s[i] = time.Duration(j+1) * time.Millisecond
	}
	return s
}

func TestPercentile(t *testing.T) {
	type percentiles struct{ P0, P50, P99, P100 time.Duration }
	const ms = time.Millisecond
	for name, test := range map[string]struct {
		of   series
		want percentiles
	}{
		"of nothing there is none":                 {nil, percentiles{}},
		"of one sample it is all of them":          {upTo(1), percentiles{1 * ms, 1 * ms, 1 * ms, 1 * ms}},
		"of two the median is the lower":           {upTo(2), percentiles{1 * ms, 1 * ms, 2 * ms, 2 * ms}},
		"of three the median is the middle":        {upTo(3), percentiles{1 * ms, 2 * ms, 3 * ms, 3 * ms}},
		"of fifty the 99th is the largest":         {upTo(50), percentiles{1 * ms, 25 * ms, 50 * ms, 50 * ms}},
		"of a hundred the 99th leaves one out":     {upTo(100), percentiles{1 * ms, 50 * ms, 99 * ms, 100 * ms}},
		"of a thousand the 99th leaves ten out":    {upTo(1000), percentiles{1 * ms, 500 * ms, 990 * ms, 1000 * ms}},
		"one outlier of many moves the maximum":    {append(upTo(199), time.Hour), percentiles{1 * ms, 100 * ms, 198 * ms, time.Hour}},
		"samples that are all the same stay as is": {series{ms, ms, ms, ms}, percentiles{ms, ms, ms, ms}},
	} {
		t.Run(name, func(t *testing.T) {
			before := append(series{}, test.of...)
			got := percentiles{test.of.percentile(0), test.of.p50(), test.of.p99(), test.of.percentile(100)}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(before, append(series{}, test.of...)); diff != "" {
				t.Errorf("the samples were reordered\n%s", diff)
			}
		})
	}
}

func TestTable(t *testing.T) {
	var got strings.Builder
	writeTable(&got, []row{
		{what: "grant", ours: upTo(100), floor: series{20 * time.Millisecond, 30 * time.Millisecond}},
		{what: "algebra", ours: series{64500 * time.Nanosecond}, floor: series{1234 * time.Millisecond}},
		{what: "nothing to compare with", ours: series{70 * time.Nanosecond}},
	})
	want := `| what | Wayleave p50 | Wayleave p99 | floor p50 | floor p99 | ratio p50 | ratio p99 |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
| grant | 50 ms | 99 ms | 20 ms | 30 ms | 2.5 | 3.3 |
| algebra | 64.5 µs | 64.5 µs | 1.23 s | 1.23 s | 5.23e-05 | 5.23e-05 |
| nothing to compare with | 70ns | 70ns | 0s | 0s | – | – |
`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
