package delegation

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// noon is when every question of the tests is asked.
var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

const (
	alice = "alice@example.com"
	bob   = "bob@example.com"
	image = "registry.example.com/isolate:1.4"
)

func at(offset time.Duration) *metav1.Time {
	t := metav1.NewTime(noon.Add(offset))
	return &t
}

func lasting(d time.Duration) v1alpha1.Lifetime {
	return v1alpha1.Lifetime{Duration: &metav1.Duration{Duration: d}}
}

func until(offset time.Duration) v1alpha1.Lifetime {
	return v1alpha1.Lifetime{NotAfter: at(offset)}
}

func revoked(reason string) *v1alpha1.Revocation {
	return &v1alpha1.Revocation{Reason: reason, By: alice, At: at(-3 * time.Minute)}
}

// pods is the scope of verbs on the pods of payments.
func pods(verbs ...string) v1alpha1.Scope { return podsIn("payments", verbs...) }

func podsIn(namespace string, verbs ...string) v1alpha1.Scope {
	return v1alpha1.Scope{Namespaced: []v1alpha1.NamespacedScope{{
		Namespaces: []string{namespace},
		Rules:      []v1alpha1.ResourceRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: verbs}},
	}}}
}

func forAudience(s v1alpha1.Scope, audiences ...string) v1alpha1.Scope {
	s.Audiences = audiences
	return s
}

type pathOption func(*v1alpha1.DelegationPath)

// path is active since 11:30 and ends at 12:30; its hops may get, list and delete pods.
func path(options ...pathOption) *v1alpha1.DelegationPath {
	p := &v1alpha1.DelegationPath{
		ObjectMeta: metav1.ObjectMeta{Namespace: "incident-response", Name: "contain-4711", UID: "path-uid"},
		Spec: v1alpha1.DelegationPathSpec{
			Reason:   "Alert 4711",
			Origin:   &v1alpha1.Subject{User: alice},
			Lifetime: lasting(time.Hour),
			Scope:    forAudience(pods("get", "list", "delete"), "vault"),
			Hops:     &v1alpha1.HopBounds{MaxDepth: 3, Namespaces: []string{"incident-response", "agents"}},
		},
		Status: v1alpha1.DelegationPathStatus{ActiveSince: at(-30 * time.Minute)},
	}
	for _, o := range options {
		o(p)
	}
	return p
}

// pathSpec changes the spec of a path.
func pathSpec(change func(*v1alpha1.DelegationPathSpec)) pathOption {
	return func(p *v1alpha1.DelegationPath) { change(&p.Spec) }
}

func withPathScope(s v1alpha1.Scope) pathOption {
	return func(p *v1alpha1.DelegationPath) { p.Spec.Scope = s }
}

// accepts makes a path accept risks, after its scope is set.
func accepts(risks ...v1alpha1.Risk) pathOption {
	return func(p *v1alpha1.DelegationPath) { p.Spec.Scope.AcceptedRisks = risks }
}

func withRisks(s v1alpha1.Scope, risks ...v1alpha1.Risk) v1alpha1.Scope {
	s.AcceptedRisks = risks
	return s
}

func withPathLifetime(l v1alpha1.Lifetime) pathOption {
	return func(p *v1alpha1.DelegationPath) { p.Spec.Lifetime = l }
}

func neverActive(p *v1alpha1.DelegationPath) { p.Status = v1alpha1.DelegationPathStatus{} }

func pathEnded(recorded *metav1.Time) pathOption {
	return func(p *v1alpha1.DelegationPath) { p.Status.ExpiresAt = recorded }
}

type hopOption func(*v1alpha1.DelegationHop)

// hop is a first hop in namespace agents that inherits its scope and lifetime, and is granted since 11:50.
func hop(name string, options ...hopOption) *v1alpha1.DelegationHop {
	inherit := true
	h := &v1alpha1.DelegationHop{
		ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: name, UID: types.UID(name + "-uid")},
		Spec: v1alpha1.DelegationHopSpec{
			PathRef:      v1alpha1.ObjectRef{Namespace: "incident-response", Name: "contain-4711"},
			Author:       &v1alpha1.Subject{User: alice},
			InheritScope: &inherit,
			Workload:     &v1alpha1.Workload{Kinds: []v1alpha1.WorkloadKind{v1alpha1.WorkloadJob}, Images: []string{image}},
		},
		Status: v1alpha1.DelegationHopStatus{
			PathUID: "path-uid", ActiveSince: at(-10 * time.Minute), Incarnation: 1, ServiceAccountName: "dhop-" + name + ".0.0",
		},
	}
	for _, o := range options {
		o(h)
	}
	return h
}

func hopSpec(change func(*v1alpha1.DelegationHopSpec)) hopOption {
	return func(h *v1alpha1.DelegationHop) { change(&h.Spec) }
}

// withParent names a parent of the same namespace and is linked to it.
func withParent(name string) hopOption {
	return func(h *v1alpha1.DelegationHop) {
		h.Spec.ParentRef = &v1alpha1.ObjectRef{Name: name}
		h.Status.ParentUID = name + "-uid"
	}
}

// withoutStatus is as the hop's author wrote it: the controller has not seen it yet.
func withoutStatus(h *v1alpha1.DelegationHop) { h.Status = v1alpha1.DelegationHopStatus{} }

func in(namespace string) hopOption {
	return func(h *v1alpha1.DelegationHop) { h.Namespace = namespace }
}

func withUID(uid types.UID) hopOption {
	return func(h *v1alpha1.DelegationHop) { h.UID = uid }
}

func withScope(s v1alpha1.Scope) hopOption {
	return func(h *v1alpha1.DelegationHop) { h.Spec.Scope, h.Spec.InheritScope = &s, nil }
}

func withLifetime(l v1alpha1.Lifetime) hopOption {
	return func(h *v1alpha1.DelegationHop) { h.Spec.Lifetime = &l }
}

func withToken(audience string) hopOption {
	return func(h *v1alpha1.DelegationHop) {
		h.Spec.Token = &v1alpha1.Token{SecretName: "isolate-token", Audience: audience}
	}
}

func hopEnded(recorded *metav1.Time) hopOption {
	return func(h *v1alpha1.DelegationHop) { h.Status.ExpiresAt = recorded }
}

func beingDeleted(o metav1.Object) { o.SetDeletionTimestamp(at(-time.Second)) }

var yes = Answer{Outcome: Allow}

// ask asks about the last of the hops, or about the path if there are none; all that had to be looked up is a yes.
func ask(p *v1alpha1.DelegationPath, hops ...*v1alpha1.DelegationHop) Input {
	facts := Facts{Origin: yes, KnowsPath: yes, TokenSecrets: yes, TokenName: yes, Ceiling: yes, HopNamespace: yes}
	facts.Approval = Approval{Digest: shownDigest, Decisions: []Decided{by("bob", holding(at(1000*time.Hour)))}}
	input := Input{Now: noon, Path: p, Chain: Chain{Hops: hops}, Facts: facts}
	for range hops {
		input.Facts.Authors = append(input.Facts.Authors, yes)
	}
	return input
}

// but is the same question with something changed.
func but(input Input, change func(*Input)) Input {
	change(&input)
	return input
}

// run asks whether a workload may run under the last hop. Without a change it is the template of a Job that may.
func run(input Input, changes ...func(*Workload)) Input {
	input.Workload = &Workload{Kinds: []v1alpha1.WorkloadKind{v1alpha1.WorkloadJob}, Template: true, Images: []string{image}, Use: yes}
	for _, change := range changes {
		change(input.Workload)
	}
	return input
}

// fault is what a test looks at in a finding: all but the words.
type fault struct {
	Reason v1alpha1.Reason
	Node   string
	Field  string
}

type result struct {
	Outcome Outcome
	Faults  []fault
}

func evaluate(input Input) result {
	v := Evaluate(input)
	r := result{Outcome: v.Outcome}
	for _, f := range v.Findings {
		r.Faults = append(r.Faults, fault{f.Reason, f.Node, f.Field})
	}
	return r
}

const (
	thePath = "path incident-response/contain-4711"
	triage  = "hop agents/triage"
	contain = "path incident-response/contain-4711"
)
