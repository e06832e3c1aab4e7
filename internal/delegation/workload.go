package delegation

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/scope"
)

// checkWorkload checks what is to run under the last hop of the chain.
func (e *evaluation) checkWorkload() {
	w := e.in.Workload
	if w == nil {
		return
	}
	hop := e.in.Chain.Last()
	if hop == nil {
		e.report(Finding{Reason: v1alpha1.ReasonHopNotFound, Message: "there is no such hop in this namespace"})
	}
	e.checkUse(w)
	e.checkNotApprover(w)
	if hop == nil {
		return
	}
	if f := usesExhausted(hop, hop.Status.Uses); w.Begins && f != nil {
		e.report(*f)
	}
	e.checkKindAndImages(hop, w)
	e.checkSecretsRead(hop, w)
	e.checkPodSecurity(hop, w)
	e.checkAccount(hop, w)
	e.checkRequires(w)
}

// checkUse checks that the author of the workload may use the hop.
func (e *evaluation) checkUse(w *Workload) {
	who, whether := "you do not hold", "whether you may use the hop"
	if w.Author != "" {
		who, whether = fmt.Sprintf("its author %q does not hold", w.Author), fmt.Sprintf("whether its author %q may use the hop", w.Author)
	}
	e.reportAnswer(w.Use, Finding{
		Reason:  v1alpha1.ReasonNotPermittedToUse,
		Message: fmt.Sprintf("%s the verb %s on this delegationhop: get a Role in this namespace that gives it", who, v1alpha1.VerbUse),
	}, whether)
}

// checkNotApprover checks that nobody declares work under a path that they approved.
func (e *evaluation) checkNotApprover(w *Workload) {
	if p := e.in.Path; p != nil && w.By != "" && HasApproved(p, w.By) {
		e.report(Finding{Reason: v1alpha1.ReasonNotPermittedToUse, Message: fmt.Sprintf(
			"%q approved the path, and nobody uses what they approved: let somebody else who may use the hop create it", w.By)})
	}
}

const nothingMayRun = "nothing may run under this hop: it has no workload"

func (e *evaluation) checkKindAndImages(hop *v1alpha1.DelegationHop, w *Workload) {
	notAllowed := func(message string) { e.report(Finding{Reason: v1alpha1.ReasonWorkloadNotAllowed, Message: message}) }
	allowed := hop.Spec.Workload
	if allowed == nil {
		notAllowed(nothingMayRun)
		return
	}
	if !slices.ContainsFunc(w.Kinds, func(k v1alpha1.WorkloadKind) bool { return slices.Contains(allowed.Kinds, k) }) {
		message := fmt.Sprintf("the hop allows workload of kind %s only", join(allowed.Kinds))
		if w.Manual {
			message += "; a Job that a user makes from a CronJob is a Job of that user: list kind Job in workload.kinds of the hop, too"
		}
		notAllowed(message)
	}
	var denied []string
	for _, image := range w.Images {
		if !slices.ContainsFunc(allowed.Images, func(pattern string) bool { return imageMatches(pattern, image) }) {
			denied = append(denied, image)
		}
	}
	if len(denied) > 0 {
		e.report(Finding{Reason: v1alpha1.ReasonImageNotAllowed, Message: fmt.Sprintf(
			"the hop does not list %s, it lists %s: use such an image, or add yours to workload.images of the hop",
			quoteSome(denied), quoteSome(allowed.Images))})
	}
}

// checkSecretsRead checks the Secrets that the containers of the workload read.
func (e *evaluation) checkSecretsRead(hop *v1alpha1.DelegationHop, w *Workload) {
	if hop.Spec.Workload == nil {
		return
	}
	denied := slices.DeleteFunc(slices.Clone(w.Secrets), func(name string) bool { return slices.Contains(hop.Spec.Workload.Secrets, name) })
	if len(denied) > 0 {
		e.report(Finding{Reason: v1alpha1.ReasonSecretNotInScope, Message: fmt.Sprintf(
			"the hop does not list Secret %s, which a container reads: leave it out, or add it to workload.secrets of the hop", quoteSome(denied))})
	}
}

// checkAccount checks the account that the workload names, and that the hop has one.
func (e *evaluation) checkAccount(hop *v1alpha1.DelegationHop, w *Workload) {
	wrong := func(format, named string) {
		e.report(Finding{Reason: v1alpha1.ReasonWrongServiceAccount, Message: fmt.Sprintf(format, named)})
	}
	account := hop.Status.ServiceAccountName
	switch named := w.ServiceAccountName; {
	case named == "" || named == "default":
	case !w.Template && named == account:
	case w.Template:
		wrong("leave serviceAccountName out: each pod is given the hop's own account when it is created, and the template names %q", named)
	default:
		wrong("the pod names the account %q, which is not the hop's: leave serviceAccountName out", named)
	}
	if account == "" && len(e.findings) == 0 { // otherwise the findings say why
		e.report(Finding{Reason: v1alpha1.ReasonNotYetValid, Message: "the hop has no identity yet"})
	}
}

// checkRequires checks that the hop may do what the workload says that it needs.
func (e *evaluation) checkRequires(w *Workload) {
	notAllowed := func(itself bool, message string) {
		e.report(Finding{Reason: v1alpha1.ReasonWorkloadNotAllowed, Itself: itself, Field: annotationField, Message: message})
	}
	if w.RequiresProblem != "" {
		notAllowed(true, w.RequiresProblem)
		return
	}
	if len(w.Requires) == 0 || e.in.Path == nil {
		return
	}
	missing, problems := e.scope.MissingRequired(w.Requires)
	for _, p := range problems {
		notAllowed(true, p.Field+": "+p.Message)
	}
	if len(missing) > 0 {
		what := strings.ReplaceAll(scope.Describe(missing), " in any namespace", "")
		notAllowed(false, fmt.Sprintf("the workload needs what the hop may not do: %s (the hop may do that in none of its namespaces)", what))
	}
}

const annotationField = "metadata.annotations[" + v1alpha1.AnnotationRequires + "]"

func join[T ~string](list []T) string {
	words := make([]string, len(list))
	for i, s := range list {
		words[i] = string(s)
	}
	return strings.Join(words, ", ")
}

// maxQuoted bounds how many strings out of a request or a spec a message repeats.
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
