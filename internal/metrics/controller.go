package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// Controller are the metrics of the controller.
type Controller struct {
	collectors
	usesBegun    prometheus.Counter
	tokensMinted prometheus.Counter
	withdrawal   *prometheus.HistogramVec
	expiryLag    prometheus.Histogram
}

// The steps of a withdrawal, as the fields of its record are called.
const (
	stepUnbound          = "Unbound"
	stepIdentityDeleted  = "IdentityDeleted"
	stepWorkloadsStopped = "WorkloadsStopped"
	stepCompleted        = "Completed"
)

// stepsOf are the steps of the withdrawal of each kind.
var stepsOf = map[string][]string{
	kindPath: {stepUnbound, stepCompleted},
	kindHop:  {stepUnbound, stepIdentityDeleted, stepWorkloadsStopped, stepCompleted},
}

// withdrawalBuckets reach from the deletion of a binding, which takes milliseconds, over pods that end within 30 s, to a
// controller that was down.
var withdrawalBuckets = []float64{.05, .1, .25, .5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800}

// NewController returns the metrics of a controller, which reads from a cache of paths, hops and pods.
func NewController(cache client.Reader, now clock.PassiveClock) *Controller {
	c := &Controller{
		usesBegun: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wayleave_uses_begun_total", Help: "Uses of hops that have begun.",
		}),
		tokensMinted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wayleave_tokens_minted_total", Help: "Tokens that were requested and written into the Secrets of hops.",
		}),
		withdrawal: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "wayleave_withdrawal_duration_seconds",
			Help:    "Time from when a withdrawal was asked for until a step of it was done.",
			Buckets: withdrawalBuckets,
		}, []string{labelKind, labelStep}),
		expiryLag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "wayleave_expiry_lag_seconds",
			Help:    "Time from the end of a hop that expired until its bindings were deleted.",
			Buckets: withdrawalBuckets,
		}),
	}
	for kind, steps := range stepsOf { // a series that begins with its first observation hides that one from rate()
		for _, step := range steps {
			c.withdrawal.WithLabelValues(kind, step)
		}
	}
	c.collectors = collectors{c.usesBegun, c.tokensMinted, c.withdrawal, c.expiryLag, cached{reader: cache, clock: now}}
	return c
}

// TokenMinted counts a token.
func (c *Controller) TokenMinted() { c.tokensMinted.Inc() }

// PathWritten observes what the status of a path that was written says for the first time.
func (c *Controller) PathWritten(before, after *v1alpha1.DelegationPathStatus) {
	c.withdrawn(kindPath, before.Withdrawal, after.Withdrawal)
}

// HopWritten observes what the status of a hop that was written says for the first time.
func (c *Controller) HopWritten(before, after *v1alpha1.DelegationHopStatus) {
	if more := usesBegun(after) - usesBegun(before); more > 0 {
		c.usesBegun.Add(float64(more))
	}
	c.withdrawn(kindHop, before.Withdrawal, after.Withdrawal)
}

func usesBegun(status *v1alpha1.DelegationHopStatus) int32 {
	if status.Uses == nil || status.Uses.Begun == nil {
		return 0
	}
	return *status.Uses.Begun
}

// withdrawn observes the steps of a withdrawal that were not recorded before.
func (c *Controller) withdrawn(kind string, before, after *v1alpha1.Withdrawal) {
	if after == nil || after.AskedAt == nil {
		return
	}
	if before == nil || before.Reason != after.Reason || !before.AskedAt.Equal(after.AskedAt) { // another withdrawal
		before = &v1alpha1.Withdrawal{}
	}
	had, has := stepTimes(before), stepTimes(after)
	for _, step := range stepsOf[kind] {
		if has[step] == nil || had[step] != nil {
			continue
		}
		// Who revoked may have said when, by a clock that is ahead.
		took := max(0, has[step].Sub(after.AskedAt.Time))
		c.withdrawal.WithLabelValues(kind, step).Observe(took.Seconds())
		if kind == kindHop && step == stepUnbound && after.Reason == v1alpha1.ReasonExpired {
			c.expiryLag.Observe(took.Seconds())
		}
	}
}

func stepTimes(w *v1alpha1.Withdrawal) map[string]*metav1.MicroTime {
	return map[string]*metav1.MicroTime{
		stepUnbound: w.UnboundAt, stepIdentityDeleted: w.IdentityDeletedAt,
		stepWorkloadsStopped: w.WorkloadsStoppedAt, stepCompleted: w.CompletedAt,
	}
}
