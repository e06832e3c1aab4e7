package main

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/client-go/tools/leaderelection"
)

// election is how several replicas agree on the one that works. Flags and defaults are those of kube-controller-manager.
type election struct {
	on            bool
	leaseDuration time.Duration
	renewDeadline time.Duration
	retryPeriod   time.Duration
}

func (e *election) bind(flags *pflag.FlagSet) {
	flags.BoolVar(&e.on, "leader-elect", true, "let one of several replicas work, by a Lease in --namespace")
	flags.DurationVar(&e.leaseDuration, "leader-elect-lease-duration", 15*time.Second,
		"how long the other replicas wait after the leader's last renewal before one of them takes over")
	flags.DurationVar(&e.renewDeadline, "leader-elect-renew-deadline", 10*time.Second,
		"how long the leader tries to renew before it stops; less than --leader-elect-lease-duration")
	flags.DurationVar(&e.retryPeriod, "leader-elect-retry-period", 2*time.Second,
		"how long a replica waits between attempts to acquire or to renew")
}

// validate checks what client-go does, which names its own fields and not the flags.
func (e *election) validate() error {
	if !e.on {
		return nil
	}
	if e.leaseDuration < time.Second {
		return fmt.Errorf("--leader-elect-lease-duration is %s: it must be at least 1s, since a Lease counts in seconds", e.leaseDuration)
	}
	if e.retryPeriod <= 0 {
		return fmt.Errorf("--leader-elect-retry-period is %s: it must be longer than zero", e.retryPeriod)
	}
	if e.renewDeadline >= e.leaseDuration {
		return fmt.Errorf("--leader-elect-renew-deadline is %s: it must be less than --leader-elect-lease-duration, which is %s",
			e.renewDeadline, e.leaseDuration)
	}
	if least := time.Duration(leaderelection.JitterFactor * float64(e.retryPeriod)); e.renewDeadline <= least {
		return fmt.Errorf("--leader-elect-renew-deadline is %s: it must be more than %s, %.1f times --leader-elect-retry-period",
			e.renewDeadline, least, leaderelection.JitterFactor)
	}
	return nil
}
