package delegation

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/scope"
)

// FreezeName is the name of the ConfigMap in the operator's namespace whose existence freezes the cluster.
const FreezeName = "wayleave-freeze"

// Freeze says what may not run for now. Nothing frozen is granted anything, and it holds for what is created later, too. The
// zero value freezes nothing.
type Freeze struct {
	// Everything is true where the whole cluster is frozen.
	Everything bool
	// Origins are user names whose paths are frozen, Authors those whose hops are, with all hops below; Namespaces are those whose
	// hops are.
	Origins, Authors, Namespaces []string
	// ByFlag is true where the processes were started so.
	ByFlag bool
	// Why is what its author wrote, or why more is frozen than the author may have meant.
	Why string
	// Unknown says why it could not be found out; empty where it was.
	Unknown string
}

// freezeLists are the keys of the ConfigMap that name what is frozen, one name a line.
var freezeLists = map[string]func(*Freeze) *[]string{
	"origins":    func(f *Freeze) *[]string { return &f.Origins },
	"authors":    func(f *Freeze) *[]string { return &f.Authors },
	"namespaces": func(f *Freeze) *[]string { return &f.Namespaces },
}

// FreezeOf reads the data of the ConfigMap. What names nothing freezes everything, and so does what cannot be understood: a
// mistyped key must not leave running what somebody means to stop.
func FreezeOf(data map[string]string) Freeze {
	f := Freeze{Why: clip(strings.TrimSpace(data["reason"]), 512)}
	named := false
	for _, key := range slices.Sorted(maps.Keys(data)) {
		if key == "reason" {
			continue
		}
		list, known := freezeLists[key]
		if !known {
			return Freeze{Everything: true, Why: fmt.Sprintf("its key %q is none of origins, authors, namespaces and reason", clip(key, 64))}
		}
		names := strings.FieldsFunc(data[key], func(r rune) bool { return r == '\n' || r == '\r' })
		for i, name := range names {
			names[i] = strings.TrimSpace(name)
		}
		if names = slices.DeleteFunc(names, func(name string) bool { return name == "" }); len(names) == 0 {
			return Freeze{Everything: true, Why: fmt.Sprintf("its key %q names nothing", key)}
		}
		*list(&f), named = names, true
	}
	f.Everything = !named
	return f
}

// checkFreeze checks a node of the chain: the path where no hop is given.
func (e *evaluation) checkFreeze(h *v1alpha1.DelegationHop, n node) {
	f := e.in.Facts.Freeze
	if f.Unknown != "" && h == nil {
		e.report(Finding{Reason: v1alpha1.ReasonUndetermined, Message: "could not determine whether it is frozen: " + f.Unknown})
	}
	what := ""
	switch {
	case h == nil && f.Everything:
		what = "everything is"
	case h == nil && e.in.Path.Spec.Origin != nil && slices.Contains(f.Origins, e.in.Path.Spec.Origin.User):
		what = fmt.Sprintf("the paths of origin %q are", e.in.Path.Spec.Origin.User)
	case h != nil && h.Spec.Author != nil && slices.Contains(f.Authors, h.Spec.Author.User):
		what = fmt.Sprintf("the hops of author %q are", h.Spec.Author.User)
	case h != nil && slices.Contains(f.Namespaces, h.Namespace):
		what = fmt.Sprintf("the hops in namespace %q are", h.Namespace)
	default:
		return
	}
	namespace := cmp.Or(e.in.OperatorNamespace, scope.DefaultOperatorNamespace)
	e.report(Finding{Reason: v1alpha1.ReasonFrozen, Node: n.name, Message: what + " frozen " + f.how(namespace)})
}

// how says by what it is frozen, how that is undone, and why it was done.
func (f Freeze) how(namespace string) string {
	by := fmt.Sprintf("by ConfigMap %s/%s: change or delete it to go on", namespace, FreezeName)
	if f.ByFlag {
		by = "by --frozen: run controller and webhook without it to go on"
	}
	if f.Why != "" {
		by += " (" + f.Why + ")"
	}
	return by
}
