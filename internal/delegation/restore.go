package delegation

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// A restore from a backup brings objects back without their status: what expired would begin anew, and what was used up could
// be used again. So what must not be forgotten is also in a label, which says whose it is: one that is copied with the YAML of
// another object means nothing.

// HopRecord is the value of LabelRecord on a hop with a status; empty before the hop was first allowed.
func HopRecord(hop *v1alpha1.DelegationHop, status *v1alpha1.DelegationHopStatus) string {
	uses, ended := int32(0), v1alpha1.Reason("")
	if w := hop.Spec.Workload; w != nil && w.MaxUses > 0 { // only a limit makes the number matter, and each change is a write
		uses = begun(status.Uses)
	}
	if status.Ended != nil {
		ended = status.Ended.Reason
	}
	return record(hop, status.ActiveSince, uses, ended)
}

// PathRecord is the value of LabelRecord on a path with a status; empty before the path first became active.
func PathRecord(path *v1alpha1.DelegationPath, status *v1alpha1.DelegationPathStatus) string {
	ended := v1alpha1.Reason("")
	if ReadyReason(status.Conditions) == v1alpha1.ReasonExpired {
		ended = v1alpha1.ReasonExpired
	}
	return record(path, status.ActiveSince, 0, ended)
}

func record(o metav1.Object, since *metav1.Time, uses int32, ended v1alpha1.Reason) string {
	if since == nil {
		return ""
	}
	return strings.TrimSuffix(fmt.Sprintf("%s.%d.%d.%s", owner(o), since.Unix(), uses, ended), ".")
}

// owner tells the object that a record is about from every other one.
func owner(o metav1.Object) string {
	sum := sha256.Sum256([]byte(o.GetNamespace() + "/" + o.GetName()))
	return hex.EncodeToString(sum[:4])
}

// RestoreHop fills in the status of a hop that came back without one what its label recorded.
func RestoreHop(hop *v1alpha1.DelegationHop) {
	since, uses, ended, ok := recorded(hop)
	if !ok || hop.Status.ActiveSince != nil {
		return
	}
	hop.Status.ActiveSince = since
	if uses > 0 {
		hop.Status.Uses = &v1alpha1.Uses{Begun: &uses}
	}
	if ended != "" {
		hop.Status.Ended = &v1alpha1.Ended{Reason: ended, At: *since, Message: "the hop had ended before it was restored from a backup"}
	}
}

// RestorePath does so with a path.
func RestorePath(path *v1alpha1.DelegationPath) {
	since, _, ended, ok := recorded(path)
	if !ok || path.Status.ActiveSince != nil {
		return
	}
	path.Status.ActiveSince = since
	if ended == v1alpha1.ReasonExpired {
		path.Status.ExpiresAt = since // whenever it was, it has passed
	}
}

// recorded reads the record of an object; it is not ok if there is none, or it is that of another object.
func recorded(o metav1.Object) (since *metav1.Time, uses int32, ended v1alpha1.Reason, ok bool) {
	parts := strings.SplitN(o.GetLabels()[v1alpha1.LabelRecord], ".", 4)
	if len(parts) < 3 || parts[0] != owner(o) {
		return nil, 0, "", false
	}
	at, err := strconv.ParseInt(parts[1], 10, 64)
	n, errUses := strconv.ParseInt(parts[2], 10, 32)
	if err != nil || errUses != nil || n < 0 {
		return nil, 0, "", false
	}
	if len(parts) == 4 && v1alpha1.Reason(parts[3]).Class() == v1alpha1.ClassFinal {
		ended = v1alpha1.Reason(parts[3])
	}
	since = new(metav1.NewTime(time.Unix(at, 0)))
	// What was restored is younger than its record: one that says otherwise was written by hand, and would put off the end.
	if created := o.GetCreationTimestamp(); !created.IsZero() && created.Before(since) {
		since = &created
	}
	return since, int32(n), ended, true
}
