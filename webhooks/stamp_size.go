package webhooks

import (
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// Names of users and groups have no limit in Kubernetes. A subject is an identity and is never shortened: who cannot be
// stamped whole is refused. Who changed or revoked an object is a note, which gives way: the update has to fit, and the
// audit line has the whole name.
const (
	// maxName is how many characters the schema lets a name have.
	maxName = 1024
	// maxGroups is how many groups the schema lets a subject list.
	maxGroups = 256
	// maxGroupBytes bounds them together, so that an author's groups cannot fill the object.
	maxGroupBytes = 96 << 10
	// maxStampedBytes is how large an object may be to get notes at all. It is below what etcd takes, 1.5 MiB.
	maxStampedBytes = 1 << 20
)

// unstampableError says why a requester cannot be stamped as the subject of an object.
type unstampableError struct{ message string }

func (e unstampableError) Error() string { return e.message }

// stampable says whether a requester fits in a stamp; the remedy is what the message tells one who does not.
func stampable(who v1alpha1.Subject, remedy string) error {
	refuse := func(format string, args ...any) error {
		return unstampableError{fmt.Sprintf(format, args...) + ": " + remedy}
	}
	if n := len([]rune(who.User)); n > maxName {
		return refuse("your user name has %d characters, more than the %d that can be stamped", n, maxName)
	}
	if n := len(who.Groups); n > maxGroups {
		return refuse("you are in %d groups, more than the %d that can be stamped", n, maxGroups)
	}
	total := 0
	for _, group := range who.Groups {
		if n := len([]rune(group)); n > maxName {
			return refuse("one of your groups has a name of %d characters, more than the %d that can be stamped", n, maxName)
		}
		total += len(group)
	}
	if total > maxGroupBytes {
		return refuse("the names of your groups have %d bytes, more than the %d that can be stamped", total, maxGroupBytes)
	}
	return nil
}

// clipName cuts a name to what the schema takes.
func clipName(name string) string {
	if runes := []rune(name); len(runes) > maxName {
		return string(runes[:maxName-1]) + "…"
	}
	return name
}

// nameToNote is the requester's name as far as the schema takes it; empty where the object is so large that a note might
// not fit.
func nameToNote(req admission.Request) string {
	if len(req.Object.Raw) > maxStampedBytes {
		return ""
	}
	return clipName(req.UserInfo.Username)
}
