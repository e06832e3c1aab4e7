package main

import (
	"math"
	"slices"
	"time"
)

// series are the samples of one measurement.
type series []time.Duration

// percentile is the smallest sample that at least p percent of all samples do not exceed (the nearest rank), so it is
// always one that was measured. It is zero without samples. Of few samples, the 99th is the largest.
func (s series) percentile(p float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

func (s series) p50() time.Duration { return s.percentile(50) }
func (s series) p99() time.Duration { return s.percentile(99) }
