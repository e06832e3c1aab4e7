package metrics

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/workload"
)

var (
	pathsDesc = prometheus.NewDesc("wayleave_paths",
		"Paths by the reason of their condition Ready.", []string{labelReason}, nil)
	hopsDesc = prometheus.NewDesc("wayleave_hops",
		"Hops by the reason of their condition Ready.", []string{labelReason}, nil)
	grantedDesc = prometheus.NewDesc("wayleave_hops_granted",
		"Hops whose permissions exist: those whose condition Granted is True.", nil, nil)
	usesLiveDesc = prometheus.NewDesc("wayleave_uses_live",
		"Uses of hops that have begun and have not ended.", nil, nil)
	podsAtGateDesc = prometheus.NewDesc("wayleave_pods_at_gate",
		"Pods that wait at the gate of their hop and at no other, by the reason for which they wait.", []string{labelReason}, nil)
	withdrawalAgeDesc = prometheus.NewDesc("wayleave_oldest_open_withdrawal_age_seconds",
		"Time since the longest withdrawal from a hop that is not complete was asked for; 0 if all are.", nil, nil)
	tokenAgeDesc = prometheus.NewDesc("wayleave_oldest_token_age_seconds",
		"Age of the oldest token that the Secret of a hop holds; 0 if none does.", nil, nil)
)

// scrapePatience is how long a scrape waits for the cache.
const scrapePatience = 5 * time.Second

// cached are the metrics that are read from the cache at each scrape, so that they cannot drift from what exists. While the cache
// is not filled they are left out: a 0 would be wrong.
type cached struct {
	reader client.Reader
	clock  clock.PassiveClock
}

// Describe sends what they are to a channel.
func (cached) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		pathsDesc, hopsDesc, grantedDesc, usesLiveDesc, podsAtGateDesc, withdrawalAgeDesc, tokenAgeDesc,
	} {
		descs <- desc
	}
}

// Collect sends their values to a channel.
func (c cached) Collect(values chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapePatience) // a collector gets no context
	defer cancel()
	found, err := c.count(ctx)
	if err != nil {
		logf.Log.WithName("metrics").Info("what is read from the cache is left out of this scrape", "error", err.Error())
		return
	}
	found.send(values)
}

// counts is what the cache says.
type counts struct {
	paths, hops, podsAtGate byReason
	granted, usesLive       int
	// oldestToken and oldestWithdrawal are since when there is one.
	oldestToken, oldestWithdrawal time.Duration
}

// byReason counts by the value of the label.
type byReason map[string]int

// count reads the cache. It changes nothing of what it reads, so nothing is copied.
func (c cached) count(ctx context.Context) (*counts, error) {
	found := &counts{paths: byReason{}, hops: byReason{}, podsAtGate: byReason{}}
	var paths v1alpha1.DelegationPathList
	if err := c.reader.List(ctx, &paths, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing paths: %w", err)
	}
	for i := range paths.Items {
		found.paths[reasonLabel(delegation.ReadyReason(paths.Items[i].Status.Conditions))]++
	}
	var hops v1alpha1.DelegationHopList
	if err := c.reader.List(ctx, &hops, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing hops: %w", err)
	}
	now := c.clock.Now()
	for i := range hops.Items {
		found.addHop(&hops.Items[i].Status, now)
	}
	var pods corev1.PodList
	if err := c.reader.List(ctx, &pods, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing pods: %w", err)
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		if workload.IsGated(pod) && !workload.IsHeldByOthers(pod) && pod.DeletionTimestamp.IsZero() {
			found.podsAtGate[reasonLabel(waitsFor(pod))]++
		}
	}
	return found, nil
}

func (f *counts) addHop(status *v1alpha1.DelegationHopStatus, now time.Time) {
	f.hops[reasonLabel(delegation.ReadyReason(status.Conditions))]++
	if c := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionGranted); c != nil && c.Status == metav1.ConditionTrue {
		f.granted++
	}
	if status.Uses != nil {
		f.usesLive += len(status.Uses.Live)
	}
	if c := status.Credential; c != nil && c.ID != "" { // without an ID it is announced, and not there yet
		f.oldestToken = max(f.oldestToken, now.Sub(c.IssuedAt.Time))
	}
	if w := status.Withdrawal; w != nil && w.AskedAt != nil && w.CompletedAt == nil {
		f.oldestWithdrawal = max(f.oldestWithdrawal, now.Sub(w.AskedAt.Time))
	}
}

// waitsFor is the reason for which a pod waits; empty while nothing was said about it.
func waitsFor(pod *corev1.Pod) v1alpha1.Reason {
	for _, c := range pod.Status.Conditions {
		if c.Type == v1alpha1.ConditionPodGranted {
			return v1alpha1.Reason(c.Reason)
		}
	}
	return ""
}

func (f *counts) send(values chan<- prometheus.Metric) {
	f.paths.send(values, pathsDesc)
	f.hops.send(values, hopsDesc)
	f.podsAtGate.send(values, podsAtGateDesc)
	for desc, value := range map[*prometheus.Desc]float64{
		grantedDesc: float64(f.granted), usesLiveDesc: float64(f.usesLive),
		withdrawalAgeDesc: f.oldestWithdrawal.Seconds(), tokenAgeDesc: f.oldestToken.Seconds(),
	} {
		values <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value)
	}
}

// send sends all reasons, also those that nothing has: a series that ends says less than a 0.
func (b byReason) send(values chan<- prometheus.Metric, desc *prometheus.Desc) {
	value := func(reason string) {
		values <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(b[reason]), reason)
	}
	for reason := range vocabulary {
		value(string(reason))
	}
	value(reasonPending)
	value(other)
}
