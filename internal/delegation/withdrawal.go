package delegation

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// WithdrawalFor is the record of a withdrawal: the one that goes on, if it is for the same reason.
func WithdrawalFor(goesOn *v1alpha1.Withdrawal, why Finding, now time.Time) *v1alpha1.Withdrawal {
	if goesOn != nil && goesOn.Reason == why.Reason {
		return goesOn
	}
	if isFinal(why) && !why.At.IsZero() {
		now = why.At
	}
	return &v1alpha1.Withdrawal{Reason: why.Reason, AskedAt: new(metav1.NewMicroTime(now))}
}

// Done records that a step of a withdrawal is done, unless that is recorded.
func Done(step **metav1.MicroTime, now time.Time) {
	if *step == nil {
		*step = new(metav1.NewMicroTime(now))
	}
}

// recordWithdrawal records on a path the withdrawal of what its hops hold, whose bindings are gone by now.
func recordWithdrawal(next *v1alpha1.DelegationPathStatus, in Input, v Verdict, hops []*v1alpha1.DelegationHop, now time.Time) {
	if v.Outcome != Deny {
		if v.Outcome == Allow {
			next.Withdrawal = nil
		}
		return
	}
	next.Withdrawal = WithdrawalFor(next.Withdrawal, v.Findings[0], in.Now)
	Done(&next.Withdrawal.UnboundAt, now)
	for _, hop := range hops {
		ended := hop.Status.ServiceAccountName == "" && (hop.Status.Withdrawal == nil || hop.Status.Withdrawal.CompletedAt != nil)
		if hop.Status.PathUID == string(in.Path.UID) && !ended {
			return
		}
	}
	Done(&next.Withdrawal.CompletedAt, now)
}
