package delegation

import (
	"cmp"
	"fmt"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// Account is what was found of the ServiceAccount that an origin or author is. The zero value means that it was not looked up.
type Account struct {
	// Found is true where it was looked up, whether it exists or not.
	Found bool
	// UID is its UID; empty if it does not exist.
	UID string
	// Unknown is why it could not be looked up.
	Unknown string
}

// AsksForAccount says whether the verdict depends on whether an origin or author still exists: a ServiceAccount does that can be
// deleted, and another one be made under its name. The identity of a hop is judged by its own hop.
func AsksForAccount(s *v1alpha1.Subject) bool {
	return s != nil && IsServiceAccount(s.User) && !IsHopAccount(s.User)
}

// checkOwner checks that an origin or author that is a ServiceAccount is the one that it was. Pinned is the UID that the status has,
// where the spec has none.
func (e *evaluation) checkOwner(s *v1alpha1.Subject, pinned string, a Account, gone Finding) {
	if !AsksForAccount(s) {
		return
	}
	uid := cmp.Or(s.UID, pinned)
	what := "its " + gone.Field[len("spec."):]
	switch {
	case !a.Found:
		e.reportAnswer(Answer{Detail: cmp.Or(a.Unknown, "it was not looked up")}, gone, fmt.Sprintf("whether %s %q still exists", what, s.User))
	case a.UID == "":
		gone.Message = fmt.Sprintf("%s %q does not exist, or was deleted: apply it again as somebody whose authority it may use", what, s.User)
		e.report(gone)
	case uid != "" && a.UID != uid:
		gone.Message = fmt.Sprintf("%s %q was deleted and recreated: apply it again, as that account or as somebody who may impersonate it",
			what, s.User)
		e.report(gone)
	}
}

// pinAccount is the UID by which a status knows an origin or author that the spec does not pin.
func pinAccount(pinned string, s *v1alpha1.Subject, a Account) string {
	if !AsksForAccount(s) || s.UID != "" {
		return ""
	}
	return cmp.Or(pinned, a.UID)
}
