package delegation

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/scope"
	"github.com/wayleave/wayleave/internal/testutil/choice"
)

// source chooses paths, hops and facts from the bytes of a fuzzer. The first of each choice is the harmless one, so that
// most questions have something to be allowed.
type source struct{ choice.Source }

// seldom is true in one of sixteen cases.
func (s *source) seldom() bool { return s.Number(16) == 15 }

// mostly picks the first text, or now and then another one.
func (s *source) mostly(from ...string) []string {
	if s.seldom() {
		return s.some(from...)
	}
	return from[:1]
}

// some picks at least one text, often one.
func (s *source) some(from ...string) []string { return s.Some(1, from...) }

func (s *source) scope() v1alpha1.Scope {
	var written v1alpha1.Scope
	for range 1 + s.Number(2) {
		rule := v1alpha1.ResourceRule{
			APIGroups: []string{""}, Resources: s.some("pods", "configmaps"),
			Verbs: append(s.mostly("get", "watch", "*"), s.some("list", "delete")...),
		}
		if s.seldom() {
			rule.ResourceNames = s.mostly("x", "y", "*")
		}
		written.Namespaced = append(
			written.Namespaced,
			v1alpha1.NamespacedScope{
				Namespaces: append(s.mostly("a", "wayleave-system"), s.some("b", "c")...), Rules: []v1alpha1.ResourceRule{rule},
			},
		)
	}
	if s.Number(4) == 3 {
		written.Cluster = []v1alpha1.ClusterRule{clusterRule(s.mostly("get", "*")[0], "nodes")}
	}
	if s.Number(3) > 0 {
		written.Audiences = s.some("vault", "aws")
	}
	return written
}

// narrow is the scope, less something now and then, and seldom something else.
func (s *source) narrow(from v1alpha1.Scope) v1alpha1.Scope {
	if s.seldom() {
		return s.scope()
	}
	less := *from.DeepCopy()
	if n := len(less.Namespaced); n > 1 && s.Number(2) == 1 {
		less.Namespaced = less.Namespaced[:n-1]
	}
	for i := range less.Namespaced {
		e := &less.Namespaced[i]
		if len(e.Namespaces) > 1 && s.Number(2) == 1 {
			e.Namespaces = e.Namespaces[1:]
		}
		if r := &e.Rules[0]; len(r.Verbs) > 1 && s.Number(2) == 1 {
			r.Verbs = r.Verbs[1:]
		}
	}
	if s.Number(3) == 2 {
		less.Audiences = nil
	}
	return less
}

func (s *source) moment() *metav1.Time {
	moments := []time.Duration{time.Hour, time.Minute, time.Second, 1, 0, -1, -time.Second, -time.Hour}
	if s.seldom() {
		return at(moments[s.Number(len(moments))])
	}
	return at(moments[s.Number(3)])
}

// long is a duration, seldom none worth the name.
func (s *source) long() *metav1.Duration {
	long := []time.Duration{time.Hour, 45 * time.Minute, 31 * time.Minute, 24 * time.Hour, time.Second, 0, -time.Hour}
	if s.seldom() {
		return &metav1.Duration{Duration: long[s.Number(len(long))]}
	}
	return &metav1.Duration{Duration: long[s.Number(3)]}
}

func (s *source) lifetime() v1alpha1.Lifetime {
	switch s.Number(4) {
	case 1:
		return v1alpha1.Lifetime{NotAfter: s.moment()}
	case 2:
		return v1alpha1.Lifetime{NotAfter: s.moment(), Duration: s.long()}
	case 3:
		if s.seldom() {
			return v1alpha1.Lifetime{}
		}
	}
	return v1alpha1.Lifetime{Duration: s.long()}
}

// history is since when something is active and which end was recorded.
func (s *source) history() (since, recorded *metav1.Time) {
	if !s.seldom() {
		since = at([]time.Duration{-time.Minute, -30 * time.Minute, 0}[s.Number(3)])
	}
	if s.seldom() {
		recorded = s.moment()
	}
	return since, recorded
}

func (s *source) path() *v1alpha1.DelegationPath {
	p := path(withPathScope(s.scope()), withPathLifetime(s.lifetime()))
	if !s.seldom() {
		accepts(v1alpha1.RiskStreams)(p)
	}
	p.Spec.Hops.MaxDepth = int32(4 - s.Number(2))
	p.Status.ActiveSince, p.Status.ExpiresAt = s.history()
	if s.seldom() {
		s.spoil(&p.ObjectMeta, &p.Spec.Revoked)
	}
	if s.seldom() {
		suspend := s.Number(2) == 1
		p.Spec.Suspend = &suspend
	}
	return p
}

func (s *source) spoil(o *metav1.ObjectMeta, r **v1alpha1.Revocation) {
	switch s.Number(3) {
	case 0:
		*r = revoked("fuzz")
	case 1:
		beingDeleted(o)
	case 2:
		o.UID = "another"
	}
}

// hop is one below a parent, nil for a first hop; above is the scope that was written last.
func (s *source) hop(i int, parent *v1alpha1.DelegationHop, above *v1alpha1.Scope) *v1alpha1.DelegationHop {
	h := hop(fmt.Sprintf("h%d", i))
	if parent != nil {
		withParent(parent.Name)(h)
	}
	h.Status.ActiveSince, h.Status.ExpiresAt = s.history()
	if s.Number(2) == 1 {
		*above = s.narrow(*above)
		withScope(*above)(h)
	}
	if s.Number(2) == 1 {
		withLifetime(s.lifetime())(h)
	}
	if s.Number(8) == 7 {
		withToken([]string{"", "vault", "aws"}[s.Number(3)])(h)
	}
	if s.seldom() {
		h.Namespace = s.some("incident-response", "elsewhere")[0]
	}
	if s.seldom() {
		s.spoil(&h.ObjectMeta, &h.Spec.Revoked)
	}
	return h
}

func (s *source) answer() Answer {
	switch s.Number(32) {
	case 30:
		return Answer{Outcome: Deny}
	case 31:
		return Answer{}
	}
	return yes
}

// question asks about a path or about a hop of it, and sometimes about a workload of the hop.
func (s *source) question() Input {
	input := Input{Now: noon, Path: s.path()}
	above := input.Path.Spec.Scope
	known := map[types.NamespacedName]*v1alpha1.DelegationHop{}
	var last *v1alpha1.DelegationHop
	for i := range s.Number(5) {
		last = s.hop(i, last, &above)
		known[HopKey(last)] = last
	}
	input.Facts = Facts{
		Origin: s.answer(), KnowsPath: s.answer(), TokenSecrets: s.answer(), TokenName: s.answer(),
		Ceiling: s.answer(), HopNamespace: s.answer(),
	}
	if s.seldom() {
		input.Path.Spec.Approval = &v1alpha1.ApprovalRule{Count: 1}
		input.Facts.Approval = Approval{Digest: shownDigest, Decisions: []Decided{by("bob", may(s.answer()))}}
	}
	if last == nil {
		return input
	}
	input.Chain, _ = ResolveChain(last, func(key types.NamespacedName) (*v1alpha1.DelegationHop, error) { return known[key], nil })
	for range input.Chain.Hops {
		input.Facts.Authors = append(input.Facts.Authors, s.answer())
	}
	if s.Number(2) == 1 {
		input = run(input)
		input.Workload.Use = s.answer()
		if s.seldom() {
			input.Workload.Requires = []rbacv1.PolicyRule{
				{APIGroups: []string{""}, Resources: s.some("pods", "secrets"), Verbs: s.some("get", "create")},
			}
		}
	}
	return input
}

func seed(f *testing.F) {
	f.Helper()
	f.Add([]byte(nil))
	for step := 1; step < 200; step++ {
		b := make([]byte, 48+step)
		for i := range b {
			b[i] = byte(i * (i + step) * step / 7)
		}
		f.Add(b)
	}
}

// above are the questions about the path of a hop and about each hop above it.
func above(input Input) []Input {
	input.Workload = nil
	var all []Input
	for i := range input.Chain.Hops {
		ancestor := input
		ancestor.Chain = Chain{Hops: input.Chain.Hops[:i]}
		ancestor.Facts.TokenName.Outcome = Allow // whose name is taken loses its own token, and gives none to hops below
		all = append(all, ancestor)
	}
	return all
}

// FuzzNewHopNeverWidensAuthority: what is allowed lies inside what each node above it may do, and ends no later.
func FuzzNewHopNeverWidensAuthority(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		s := source{data}
		input := s.question()
		v := Evaluate(input)
		if v.Outcome != Allow {
			return
		}
		if !noon.Before(v.NotAfter) {
			t.Errorf("allowed until %v, which is over", v.NotAfter)
		}
		for _, ancestor := range above(input) {
			a := Evaluate(ancestor)
			switch {
			case a.Outcome != Allow:
				t.Errorf("%d hops are allowed below %d that are not: %s", len(input.Chain.Hops), len(ancestor.Chain.Hops), a.Message())
			case !a.Scope.Covers(v.Scope):
				t.Errorf("%s is outside %s", scope.Describe(v.Scope.Permissions()), scope.Describe(a.Scope.Permissions()))
			case v.NotAfter.After(a.NotAfter):
				t.Errorf("ends %v, after %v", v.NotAfter, a.NotAfter)
			}
		}
		insideWhatIsWritten(t, input, v)
	})
}

// insideWhatIsWritten compares an Allow with the objects alone, and with no other verdict.
func insideWhatIsWritten(t *testing.T, input Input, v Verdict) {
	t.Helper()
	p := input.Path
	held(t, v, p, p.Spec.Revoked, &p.Spec.Scope, &p.Spec.Lifetime, p.Status.ActiveSince, p.Status.ExpiresAt)
	for i, h := range input.Chain.Hops {
		held(t, v, h, h.Spec.Revoked, h.Spec.Scope, h.Spec.Lifetime, h.Status.ActiveSince, h.Status.ExpiresAt)
		if h.Status.PathUID != string(p.UID) || i > 0 && h.Status.ParentUID != string(input.Chain.Hops[i-1].UID) {
			t.Errorf("hop %s is linked to others than those above it", h.Name)
		}
	}
}

func held(
	t *testing.T, v Verdict, o metav1.Object, r *v1alpha1.Revocation, written *v1alpha1.Scope, l *v1alpha1.Lifetime,
	since, recorded *metav1.Time,
) {
	t.Helper()
	if r != nil || o.GetDeletionTimestamp() != nil || recorded != nil && !noon.Before(recorded.Time) {
		t.Errorf("%s is revoked, gone or over", o.GetName())
	}
	if written != nil {
		if set, _ := scope.Parse(*written); !set.Covers(v.Scope) {
			t.Errorf("%s is outside what %s says", scope.Describe(v.Scope.Permissions()), o.GetName())
		}
	}
	if l != nil && l.NotAfter != nil && v.NotAfter.After(l.NotAfter.Time) {
		t.Errorf("ends %v, after %v of %s", v.NotAfter, l.NotAfter, o.GetName())
	}
	if l != nil && l.Duration != nil && since != nil && v.NotAfter.After(since.Add(l.Duration.Duration)) {
		t.Errorf("ends %v, after %v from %v of %s", v.NotAfter, l.Duration, since, o.GetName())
	}
}

// FuzzUnknownNeverAllows takes the answers away one by one.
func FuzzUnknownNeverAllows(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		s := source{data}
		input := s.question()
		before := Evaluate(input)
		for what, unknown := range unknowns(input) {
			after := Evaluate(unknown)
			if after.Outcome == Allow {
				t.Errorf("allowed without knowing %s", what)
			}
			if before.Outcome == Undetermined && after.Outcome != Undetermined {
				t.Errorf("knowing less, %s, makes it %s", what, after.Outcome)
			}
			if diff := cmp.Diff(final(before), final(after)); diff != "" {
				t.Errorf("not knowing %s changes what is final (-known +unknown):\n%s", what, diff)
			}
		}
	})
}

// unknowns are the question with each fact that it depends on taken away.
func unknowns(input Input) map[string]Input {
	without := map[string]Input{"the origin": but(input, func(i *Input) { i.Facts.Origin = Answer{} })}
	for n := range input.Chain.Hops {
		without[fmt.Sprintf("author %d", n)] = but(input, func(i *Input) {
			i.Facts.Authors = slices.Clone(i.Facts.Authors)
			i.Facts.Authors[n] = Answer{}
		})
		without["the hop's namespace"] = but(input, func(i *Input) { i.Facts.HopNamespace = Answer{} })
		without["the ceiling"] = but(input, func(i *Input) { i.Facts.Ceiling = Answer{} })
	}
	if input.Path.Spec.Approval != nil {
		without["the approval"] = but(input, func(i *Input) { i.Facts.Approval = Approval{} })
		without["who may approve"] = but(input, func(i *Input) {
			i.Facts.Approval.Decisions = []Decided{by("bob", may(Answer{}))}
		})
	}
	if input.Workload != nil {
		without["the use"] = but(input, func(i *Input) {
			w := *i.Workload
			w.Use, i.Workload = Answer{}, &w
		})
	}
	return without
}

func final(v Verdict) []string {
	var texts []string
	for _, f := range v.Findings {
		if f.Reason.Class() == v1alpha1.ClassFinal {
			texts = append(texts, f.String())
		}
	}
	return texts
}

// FuzzResolveChainEnds walks graphs of hops of which each may name any other as its parent.
func FuzzResolveChainEnds(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		s := source{data}
		hops := map[types.NamespacedName]*v1alpha1.DelegationHop{}
		height := 1 + s.Number(2*MaxChain)
		for i := range height {
			h := hop(fmt.Sprintf("h%d", i))
			switch {
			case s.seldom():
				withParent(fmt.Sprintf("h%d", s.Number(height)))(h)
			case i+1 < height:
				withParent(fmt.Sprintf("h%d", i+1))(h)
			}
			if s.Number(16) == 15 {
				s.spoil(&h.ObjectMeta, &h.Spec.Revoked)
			}
			if s.Number(16) == 15 {
				h.Spec.PathRef.Name = "another"
			}
			if s.Number(4) == 3 {
				h.Status.ParentUID = ""
			}
			if s.Number(32) < 31 {
				hops[HopKey(h)] = h
			}
		}
		start := hop("start", withParent("h0"))
		asked := 0
		chain, err := ResolveChain(start, func(key types.NamespacedName) (*v1alpha1.DelegationHop, error) {
			asked++
			return hops[key], nil
		})
		if err != nil || asked >= MaxChain || len(chain.Hops) > MaxChain || len(chain.Breaks) > 1 || chain.Last() != start {
			t.Fatalf("asked %d times for %d hops that end with %v: %v, %v", asked, len(chain.Hops), chain.Last(), chain.Breaks, err)
		}
		seen := map[*v1alpha1.DelegationHop]bool{}
		for i, h := range chain.Hops {
			if seen[h] {
				t.Errorf("hop %s is twice in its chain", h.Name)
			}
			seen[h] = true
			if i > 0 && ParentKey(h) != HopKey(chain.Hops[i-1]) {
				t.Errorf("hop %s is below %s", h.Name, chain.Hops[i-1].Name)
			}
		}
		if first := chain.Hops[0]; (first.Spec.ParentRef != nil) != (len(chain.Breaks) == 1) {
			t.Errorf("the chain begins with %s, below %v, and breaks: %v", first.Name, first.Spec.ParentRef, chain.Breaks)
		}
	})
}

// objects are some objects, each once unless double.
func (s *source) objects(double bool) []Object {
	kinds := []Kind{ServiceAccount, Secret, Role, RoleBinding, ClusterRole, ClusterRoleBinding}
	var objects []Object
	seen := map[identity]bool{}
	for range s.Number(12) {
		o := object(kinds[s.Number(len(kinds))], s.some("a", "b")[0], s.some("1", "2", "")[0])
		if id := (identity{o.Kind, o.Key}); !seen[id] || double {
			seen[id] = true
			objects = append(objects, o)
		}
	}
	return objects
}

// FuzzPlansSettle: a plan that was carried out leaves what is desired and nothing to do, and touches nothing twice.
func FuzzPlansSettle(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		s := source{data}
		desired, observed := s.objects(false), s.objects(false)
		plan := planFor(desired, observed)

		existing := map[identity]Object{}
		for _, o := range observed {
			existing[identity{o.Kind, o.Key}] = o
		}
		for _, o := range append(plan.Discard, inOrder(t, plan.Remove, removal)...) {
			id := identity{o.Kind, o.Key}
			if existing[id] != o || slices.Contains(plan.Keep, o) {
				t.Errorf("%v is removed, which is not there, or kept", o)
			}
			delete(existing, id)
		}
		for _, o := range plan.Keep {
			if existing[identity{o.Kind, o.Key}] != o || !slices.Contains(desired, o) {
				t.Errorf("%v is kept, which is not there, or not desired", o)
			}
		}
		for _, o := range inOrder(t, plan.Make, creation) {
			id := identity{o.Kind, o.Key}
			if before, there := existing[id]; there && (before == o || o.Kind == RoleBinding || o.Kind == ClusterRoleBinding) {
				t.Errorf("%v is written over %v", o, before)
			}
			existing[id] = o
		}
		var result []Object
		for _, o := range existing {
			if !slices.Contains(desired, o) {
				t.Errorf("%v is left over", o)
			}
			result = append(result, o)
		}
		if after := planFor(desired, result); !after.Empty() || len(after.Keep) != len(desired) {
			t.Errorf("after %+v there is still %+v", plan, after)
		}
		slices.Reverse(desired)
		slices.Reverse(observed)
		if diff := cmp.Diff(plan, planFor(desired, observed)); diff != "" {
			t.Errorf("the order of the same objects changes the plan:\n%s", diff)
		}

		double := s.objects(true)
		for _, o := range inOrder(t, planFor(double, append(double, double...)).Remove, removal) {
			if !slices.ContainsFunc(double, func(d Object) bool { return d.Kind == o.Kind && d.Key == o.Key && d.Content != o.Content }) {
				t.Errorf("%v is desired, there, and removed", o)
			}
		}
	})
}

// inOrder returns the objects of steps, each of which must be of one rank, above that of the step before.
func inOrder(t *testing.T, steps []Step, rank map[Kind]int) []Object {
	t.Helper()
	var all []Object
	last := -1
	for _, step := range steps {
		if len(step) == 0 || rank[step[0].Kind] <= last {
			t.Errorf("step %v comes after rank %d", step, last)
		}
		last = rank[step[0].Kind]
		for _, o := range step {
			if rank[o.Kind] != last {
				t.Errorf("%v is in a step of rank %d", o, last)
			}
		}
		all = append(all, step...)
	}
	return all
}

// anything is what a fuzzer says as JSON: objects as no schema would let them in, and any facts about them.
type anything struct {
	Now      time.Time
	Path     *v1alpha1.DelegationPath
	Hops     []v1alpha1.DelegationHop
	Facts    Facts
	Workload *Workload
}

// FuzzEvaluateAnything: no object makes a verdict panic, differ from itself, or last for ever.
func FuzzEvaluateAnything(f *testing.F) {
	add := func(a anything) {
		raw, err := json.Marshal(a)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(raw))
	}
	full := run(
		ask(
			path(), hop("triage", withScope(pods("get")), withLifetime(both(time.Hour, time.Hour))),
			hop("isolate", withParent("triage"), withToken("vault")),
		),
	)
	add(
		anything{
			Now: noon, Path: full.Path, Hops: []v1alpha1.DelegationHop{*full.Chain.Hops[0], *full.Chain.Hops[1]}, Facts: full.Facts,
			Workload: full.Workload,
		},
	)
	add(anything{Now: noon, Path: full.Path, Facts: full.Facts})
	add(anything{Now: noon, Hops: []v1alpha1.DelegationHop{*hop("isolate", withParent("isolate"))}, Workload: &Workload{}})
	add(anything{Path: &v1alpha1.DelegationPath{}, Hops: []v1alpha1.DelegationHop{{}}, Workload: &Workload{Requires: []rbacv1.PolicyRule{{}}}})
	f.Add(
		`{"Path":{"spec":{"lifetime":{"duration":"2562047h"},"scope":{"namespaced":[{"namespaces":["*"],"rules":[{}]}],"cluster":[{}]},` +
			`"hops":{"maxDepth":-1}}},` +
			`"Facts":{"Origin":{"Outcome":"Allow"}}}`,
	)
	f.Add(
		`{"Now":"9999-12-31T23:59:59Z","Path":{"spec":{"lifetime":{"notAfter":"0001-01-01T00:00:00Z"},"revoked":{},"origin":{}}},` +
			`"Hops":[{"spec":{"scope":{},"token":{},"workload":{},"lifetime":{},"parentRef":{}},"status":{"credential":{}}}]}`,
	)
	f.Fuzz(func(t *testing.T, raw string) {
		var a anything
		if json.Unmarshal([]byte(raw), &a) != nil {
			return
		}
		input := Input{Now: a.Now, Path: a.Path, Facts: a.Facts, Workload: a.Workload}
		if n := len(a.Hops); n > 0 {
			input.Chain, _ = ResolveChain(&a.Hops[n-1], func(key types.NamespacedName) (*v1alpha1.DelegationHop, error) {
				for i := range a.Hops {
					if HopKey(&a.Hops[i]) == key {
						return &a.Hops[i], nil
					}
				}
				return nil, nil
			})
		}
		v := Evaluate(input)
		if diff := cmp.Diff(v, Evaluate(input), cmp.Comparer(func(a, b scope.Set) bool { return a.Covers(b) && b.Covers(a) })); diff != "" {
			t.Errorf("asked twice:\n%s", diff)
		}
		if (v.Outcome == Allow) != (len(v.Findings) == 0) || v.Outcome == Allow && !v.NotAfter.After(a.Now) {
			t.Errorf("%s until %v with %v", v.Outcome, v.NotAfter, v.Findings)
		}
		if relative, absolute := v.RelativeMessage(a.Now), v.Message(); len(relative) > 1024 || len(absolute) > 1024 {
			t.Errorf("messages of %d and %d bytes", len(relative), len(absolute))
		}
		_, _ = WrittenScope(input)
		hop := input.Chain.Last()
		if hop == nil || v.Outcome != Allow {
			return
		}
		if NextChange(v, TokenDue(hop, a.Now), a.Now) <= 0 {
			t.Error("nothing is requeued when the grant ends")
		}
		if g := grantOf(a.Path, hop, 1, "dhop-x.5f0d.1", v); !PlanFor(g, true, g.Objects(true)).Empty() {
			t.Errorf("the grant %v is not its own", g.Objects(true))
		}
	})
}
