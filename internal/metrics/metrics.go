// Package metrics has the metrics of the processes. All label values come from fixed lists: a name of a path, hop, namespace or
// user is never one, so that nobody who creates objects makes the metrics grow.
package metrics

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// The labels.
const (
	labelReason  = "reason"
	labelKind    = "kind"
	labelStep    = "step"
	labelVerdict = "verdict"
)

const (
	// reasonPending is the reason of an object about which the controller has said nothing yet.
	reasonPending = "Pending"
	// other stands for each value outside a list.
	other = "Other"
)

// vocabulary is which reasons there are.
var vocabulary = v1alpha1.Reasons()

// reasonLabel is a reason as the value of a label.
func reasonLabel(reason v1alpha1.Reason) string {
	if reason == "" {
		return reasonPending
	}
	if _, known := vocabulary[reason]; !known {
		return other
	}
	return string(reason)
}

const (
	kindPath = "DelegationPath"
	kindHop  = "DelegationHop"
)

// kinds are those about which the webhook is asked. Whoever reaches its port may name another one.
var kinds = []string{
	kindPath, kindHop, "Pod", "Job", "CronJob",
	"DaemonSet", "Deployment", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet",
}

// kindLabel is a kind as the value of a label.
func kindLabel(kind string) string {
	if slices.Contains(kinds, kind) {
		return kind
	}
	return other
}

// collectors are several collectors as one.
type collectors []prometheus.Collector

// Describe sends what they are to a channel.
func (c collectors) Describe(descs chan<- *prometheus.Desc) {
	for _, collector := range c {
		collector.Describe(descs)
	}
}

// Collect sends their values to a channel.
func (c collectors) Collect(values chan<- prometheus.Metric) {
	for _, collector := range c {
		collector.Collect(values)
	}
}
