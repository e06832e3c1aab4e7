package webhooks

import (
	"context"
	"fmt"
	"slices"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/rbac"
	"github.com/wayleave/wayleave/internal/workload"
)

// workloadFacts are what the workload validator asks for.
type workloadFacts interface {
	hopFacts
	Chain(ctx context.Context, hop *v1alpha1.DelegationHop, now time.Time) (delegation.Input, error)
	MayUse(ctx context.Context, who v1alpha1.Subject, hop types.NamespacedName) delegation.Answer
	QuestionOfMade(ctx context.Context, w *workload.Workload, hop *v1alpha1.DelegationHop) (*delegation.Workload, error)
}

// workloadValidator validates pods, and the templates that make them, by the chain of the hop that they declare.
type workloadValidator struct {
	recorder
	facts  workloadFacts
	strict bool
}

func newWorkloadValidator(o Options) *workloadValidator {
	return &workloadValidator{recorder: o.recorder(), facts: o.Gather, strict: o.Strict}
}

// Handle validates one workload.
func (v *workloadValidator) Handle(ctx context.Context, req admission.Request) admission.Response {
	w, old, err := decodeWorkloads(req)
	if err != nil {
		return v.unanswered(req, delegation.Input{}, malformed(err))
	}
	if w.Unchanged(old) {
		return admission.Allowed("")
	}
	if f := w.Undeclarable(old); f != nil {
		in, response := v.named(ctx, req, old, w), forbidden(req, f.Message, causes(v.clock.Now(), fieldOf, *f)...)
		if old != nil && !w.Template && workload.IsStamped(w.Stamps) && !w.Keeps(old) { // a stamp from before the label is nobody's
			return v.record(req, in, f.Reason, response)
		}
		return v.deny(req, w, in, f.Reason, response)
	}
	name, declared := w.Hop()
	if !declared {
		return v.record(req, v.named(ctx, req, w, old), v1alpha1.ReasonGranted, admission.Allowed("it declares no hop from now on"))
	}
	in, err := v.input(ctx, req, w, name)
	if err != nil {
		return v.deny(req, w, v.named(ctx, req, w, old), v1alpha1.ReasonUndetermined, failed(err))
	}
	reason, response := v.answer(req, w, name, in)
	switch {
	case response.Allowed && v.reportOnly && len(response.Warnings) > 0: // it waits, but its pods do not
		return v.reported(req, in, reason, response.Warnings[0], response)
	case response.Allowed:
		return v.record(req, in, reason, response)
	case w.Misstamped(authorOf(req, w), uidOf(in.Chain.Last())): // whatever else is wrong
		return v.record(req, in, reason, response)
	}
	return v.deny(req, w, in, reason, response)
}

// named is what an audit line says of the hop that the first of some workloads names, in its label or by its account. The
// old one is nil where nothing is replaced.
func (v *workloadValidator) named(ctx context.Context, req admission.Request, workloads ...*workload.Workload) delegation.Input {
	name := ""
	for _, w := range workloads {
		if w != nil && name == "" {
			name = w.HopNamed()
		}
	}
	if name == "" {
		return delegation.Input{}
	}
	key := hopKey(req, name)
	if hop, err := v.facts.FindHop(ctx, key); err == nil && hop != nil {
		if in, err := v.facts.Chain(ctx, hop, v.clock.Now()); err == nil {
			return in
		}
		return delegation.Input{Chain: delegation.Chain{Hops: []*v1alpha1.DelegationHop{hop}}}
	}
	return namedHop(key)
}

// decodeWorkloads reads the workload of a request, and on an update the one that it replaces; old is nil where nothing
// is replaced.
func decodeWorkloads(req admission.Request) (w, old *workload.Workload, err error) {
	kind := req.Kind.Kind
	if w, err = workload.Decode(kind, req.Object.Raw); err != nil || w == nil {
		return nil, nil, fmt.Errorf("reading a %s: %w", kind, err)
	}
	if !isUpdate(req) {
		return w, nil, nil
	}
	if old, err = workload.Decode(kind, req.OldObject.Raw); err != nil {
		return nil, nil, fmt.Errorf("reading the old %s: %w", kind, err)
	}
	if old == nil {
		return nil, nil, fmt.Errorf("an update of a %s without the object that it replaces", kind)
	}
	return w, old, nil
}

// answer is the answer of the verdict, and its reason. A pod is denied whatever the reason is; a template that can wait passes
// with a warning, so that path, hop and Job can be applied together.
func (v *workloadValidator) answer(
	req admission.Request, w *workload.Workload, name string, in delegation.Input,
) (v1alpha1.Reason, admission.Response) {
	verdict := delegation.Evaluate(in)
	waits := v.canWait(req, w, in, verdict)
	if verdict.Outcome == delegation.Allow || waits {
		if f := w.Misassigned(accountOf(in), w.Audiences(in)); f != nil {
			return f.Reason, forbidden(req, unusable(name, in, f.Message), causes(in.Now, fieldOf, *f)...)
		}
		if w.Misstamped(authorOf(req, w), uidOf(in.Chain.Last())) {
			return v1alpha1.ReasonNotPermittedToUse, forbidden(req, unusable(name, in, unstamped))
		}
	}
	if verdict.Outcome == delegation.Allow {
		return v1alpha1.ReasonGranted, admission.Allowed("")
	}
	about := in
	if f, ok := verdict.Find(v1alpha1.ReasonNotPermittedToUse); ok {
		// Which hop exists, of which path, in which state, and what it allows, is not for other users.
		verdict.Findings, about = []delegation.Finding{f}, delegation.Input{}
	}
	reason, message := verdict.Reason(v1alpha1.ReasonGranted), unusable(name, about, verdict.RelativeMessage(in.Now))
	if waits {
		return reason, admission.Allowed("").WithWarnings(message + v.until(req, verdict))
	}
	return reason, forbidden(req, message, causes(in.Now, w.FieldOf, verdict.Findings...)...)
}

// unstamped is what is wrong with a workload whose stamp is not that of its author.
const unstamped = "the annotations " + v1alpha1.AnnotationDeclaredBy + "… do not say who creates it: " +
	"is the mutating webhook of Wayleave installed?"

// authorOf is the user whom the stamp of a workload has to name; nil where a built-in controller creates it.
func authorOf(req admission.Request, w *workload.Workload) *v1alpha1.Subject {
	if fromTemplate(req, w) {
		return nil
	}
	return new(requester(req.UserInfo))
}

// canWait says whether a template is admitted although its pods are denied now. Whether the author may use the hop must be
// known at this point: the pods of a template are created by a controller, which is not asked. What another object may
// fix holds back no CronJob, which is there to run later, and no dry run, after which that object may be applied. A Job that
// a CronJob makes cannot wait: runs would pile up and start together, and the controller that is denied reports it in an
// Event of the CronJob.
func (v *workloadValidator) canWait(
	req admission.Request, w *workload.Workload, in delegation.Input, verdict delegation.Verdict,
) bool {
	if !w.Template || fromTemplate(req, w) || in.Workload.Use.Outcome != delegation.Allow {
		return false
	}
	if verdict.Class() == v1alpha1.ClassWaiting {
		return true
	}
	early := !v.strict && (req.Kind.Kind == string(v1alpha1.WorkloadCronJob) || isDryRun(req))
	return early && !slices.ContainsFunc(verdict.Findings, func(f delegation.Finding) bool { return !in.DependsOnOthers(f) })
}

// until says what a template that is admitted waits for.
func (v *workloadValidator) until(req admission.Request, verdict delegation.Verdict) string {
	what := "its pods are denied until then"
	if v.reportOnly {
		what = "its pods run as without Wayleave until then"
	} else if verdict.Class() != v1alpha1.ClassWaiting && req.Kind.Kind != string(v1alpha1.WorkloadCronJob) {
		what = "it is denied until then, and so are its pods; this was a dry run"
	}
	if _, ok := verdict.Find(v1alpha1.ReasonHopNotFound); ok {
		what += "; if the hop is not to be applied, check the spelling of label " + v1alpha1.LabelHop
	}
	return "; " + what
}

// input gathers what the verdict on the workload depends on. Where Wayleave only reports, its Job may have passed although its
// author may not use the hop: then the pods that it makes are asked about as they are at the gate.
func (v *workloadValidator) input(
	ctx context.Context, req admission.Request, w *workload.Workload, name string,
) (delegation.Input, error) {
	key, now := hopKey(req, name), v.clock.Now()
	use := delegation.Answer{Outcome: delegation.Allow}
	made := fromTemplate(req, w)
	if !made {
		use = v.facts.MayUse(ctx, requester(req.UserInfo), key)
	}
	in := delegation.Input{Now: now}
	hop, err := v.facts.FindHop(ctx, key)
	if err != nil {
		return in, fmt.Errorf("reading hop %s: %w", key, err)
	}
	if hop != nil {
		if in, err = v.facts.Hop(ctx, hop, now); err != nil {
			return in, err
		}
	}
	if v.reportOnly && made && !w.Template {
		exists := hop != nil
		if !exists { // what a hop made does not run outside its path because that is gone
			hop = &v1alpha1.DelegationHop{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
		}
		if in.Workload, err = v.facts.QuestionOfMade(ctx, w, hop); err == nil && !exists {
			in.Workload.Use = use // nobody needs a right to what does not exist
		}
		return in, err
	}
	in.Workload = w.Question(made, use)
	if !made {
		in.Workload.By = req.UserInfo.Username
	}
	if _, ok := rbac.ServiceAccountOf(req.UserInfo.Username); ok { // whoever reads the Event of a controller is somebody else
		in.Workload.Author = req.UserInfo.Username
	}
	in.Workload.Begins = req.Operation == admissionv1.Create && w.Begins(made)
	return in, nil
}

// fromTemplate says whether a built-in controller creates the workload out of its owner's template.
func fromTemplate(req admission.Request, w *workload.Workload) bool {
	return w.FromTemplate(req.UserInfo.Username, req.Operation == admissionv1.Create)
}

// accountOf is the account of the hop asked about; empty where it has none, or does not exist.
func accountOf(in delegation.Input) string {
	if hop := in.Chain.Last(); hop != nil {
		return hop.Status.ServiceAccountName
	}
	return ""
}

// unusable says that a hop may not be used, and why.
func unusable(name string, in delegation.Input, why string) string {
	of := ""
	if hop := in.Chain.Last(); hop != nil {
		of = fmt.Sprintf(" of path %q", delegation.PathKey(hop).String())
	}
	return fmt.Sprintf("hop %q%s may not be used: %s", name, of, why)
}
