package delegation

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/scope"
)

// workload judges what wants to run under the last hop of the chain.
func (e *evaluation) workload() {
	w := e.in.Workload
	if w == nil {
		return
	}
	hop := e.in.Chain.Last()
	if hop == nil {
		e.find(Finding{Reason: v1alpha1.ReasonHopNotFound, Message: "there is no such hop in this namespace"})
	}
	which := "a delegationhop of that name"
	if hop != nil {
		which = fmt.Sprintf("delegationhops %q", hop.Name)
	}
	e.answer(w.Use, Finding{Reason: v1alpha1.ReasonNotPermittedToUse, Message: fmt.Sprintf("you do not hold the verb %s on %s: get a Role in this namespace that gives it", v1alpha1.VerbUse, which)},
		"whether you may use the hop")
	if hop == nil {
		return
	}
	e.runs(hop, w)
	e.account(hop, w)
	e.requires(w)
}

// runs judges kind and images.
func (e *evaluation) runs(hop *v1alpha1.DelegationHop, w *Workload) {
	allowed := hop.Spec.Workload
	if allowed == nil {
		e.find(Finding{Reason: v1alpha1.ReasonWorkloadNotAllowed, Message: "nothing may run under this hop: it has no workload"})
		return
	}
	if !slices.ContainsFunc(w.Kinds, func(k v1alpha1.WorkloadKind) bool { return slices.Contains(allowed.Kinds, k) }) {
		e.find(Finding{Reason: v1alpha1.ReasonWorkloadNotAllowed, Message: fmt.Sprintf("the hop allows workload of kind %s only", join(allowed.Kinds))})
	}
	var refused []string
	for _, image := range w.Images {
		if !slices.ContainsFunc(allowed.Images, func(pattern string) bool { return imageMatches(pattern, image) }) {
			refused = append(refused, image)
		}
	}
	if len(refused) > 0 {
		e.find(Finding{Reason: v1alpha1.ReasonImageNotAllowed, Message: fmt.Sprintf("the hop does not list %s, it lists %s: use such an image, or add yours to workload.images of the hop", quoteSome(refused), quoteSome(allowed.Images))})
	}
}

// account judges the account that the workload names, and whether the hop has one yet.
func (e *evaluation) account(hop *v1alpha1.DelegationHop, w *Workload) {
	account := hop.Status.ServiceAccountName
	switch named := w.ServiceAccountName; {
	case named == "" || named == "default":
	case !w.Template && named == account:
	case w.Template:
		e.find(Finding{Reason: v1alpha1.ReasonWrongServiceAccount, Message: fmt.Sprintf("leave serviceAccountName out: each pod is given the hop's own account as it is made, and the template names %q", named)})
	default:
		e.find(Finding{Reason: v1alpha1.ReasonWrongServiceAccount, Message: fmt.Sprintf("the pod names the account %q, which is not the hop's: leave serviceAccountName out", named)})
	}
	if account == "" && len(e.findings) == 0 { // else what was found says why
		e.find(Finding{Reason: v1alpha1.ReasonNotYetValid, Message: "the hop has no identity yet"})
	}
}

// requires judges what the workload says that it needs.
func (e *evaluation) requires(w *Workload) {
	if w.RequiresProblem != "" {
		e.find(Finding{Reason: v1alpha1.ReasonWorkloadNotAllowed, Field: annotationField, Message: w.RequiresProblem})
		return
	}
	if len(w.Requires) == 0 || e.in.Path == nil {
		return
	}
	missing, problems := e.scope.MissingRequired(w.Requires)
	for _, p := range problems {
		e.find(Finding{Reason: v1alpha1.ReasonWorkloadNotAllowed, Field: annotationField, Message: p.Field + ": " + p.Message})
	}
	if len(missing) > 0 {
		what := strings.ReplaceAll(scope.Describe(missing), " in any namespace", "")
		e.find(Finding{Reason: v1alpha1.ReasonWorkloadNotAllowed, Field: annotationField, Message: fmt.Sprintf("the workload needs what the hop may not do: %s (the hop may do that in none of its namespaces)", what)})
	}
}

const annotationField = "metadata.annotations[" + v1alpha1.AnnotationRequires + "]"

// imageMatches compares an image with a pattern. The `*` at a pattern's end stands for the rest of a tag or digest. A
// slash there would belong to another repository (registry:5* must not match registry:5000/other), and an @ would begin
// a digest, beside which a tag means nothing (app:1.* must not match app:1.0@sha256:… of whatever image of app).
func imageMatches(pattern, image string) bool {
	prefix, open := strings.CutSuffix(pattern, "*")
	if !open {
		return pattern == image
	}
	rest, ok := strings.CutPrefix(image, prefix)
	return ok && rest != "" && !strings.ContainsAny(rest, "/@")
}

func join[T ~string](list []T) string {
	words := make([]string, len(list))
	for i, s := range list {
		words[i] = string(s)
	}
	return strings.Join(words, ", ")
}

// maxQuoted bounds how many of somebody else's strings a message repeats.
const maxQuoted = 4

func quoteSome(list []string) string {
	quoted := make([]string, 0, maxQuoted)
	for i, s := range list {
		if i == maxQuoted {
			return strings.Join(quoted, ", ") + fmt.Sprintf(" and %d more", len(list)-maxQuoted)
		}
		quoted = append(quoted, fmt.Sprintf("%q", clip(s, 128)))
	}
	return strings.Join(quoted, ", ")
}
