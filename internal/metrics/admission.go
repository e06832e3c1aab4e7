package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// Admission are the metrics of the webhook.
type Admission struct {
	collectors
	decisions *prometheus.CounterVec
	duration  *prometheus.HistogramVec
}

// NewAdmission returns the metrics of a webhook.
func NewAdmission() *Admission {
	a := &Admission{
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wayleave_admission_decisions_total",
			Help: "Decisions about admission requests, as many as there are audit lines with the verb admit.",
		}, []string{labelKind, labelVerdict, labelReason}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "wayleave_admission_duration_seconds",
			Help: "How long the webhook took to answer an admission request.",
			// The API server waits for 10 s, or for 2 s where it goes on without an answer.
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2, 5, 10},
		}, []string{labelKind}),
	}
	a.collectors = collectors{a.decisions, a.duration}
	return a
}

// Decided counts a decision about an object of a kind. The verdict is that of the audit line.
func (a *Admission) Decided(kind, verdict string, reason v1alpha1.Reason) {
	a.decisions.WithLabelValues(kindLabel(kind), verdict, reasonLabel(reason)).Inc()
}

// Answered measures how long the answer to a request took that is about an object of a kind.
func (a *Admission) Answered(kind string, took time.Duration) {
	a.duration.WithLabelValues(kindLabel(kind)).Observe(took.Seconds())
}
