package webhooks

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

func TestVouched(t *testing.T) {
	kubeSystem := "system:serviceaccounts:kube-system"
	robot := "system:serviceaccount:agents:robot"
	for name, test := range map[string]struct {
		subject *v1alpha1.Subject
		may     []string
		want    string
	}{
		"no one, which the verdict denies":           {},
		"oneself":                                    {subject: &v1alpha1.Subject{User: "alice"}},
		"oneself with a group of one's own":          {subject: &v1alpha1.Subject{User: "alice", Groups: []string{"sre"}}},
		"oneself with a group that the name implies": {subject: &v1alpha1.Subject{User: "alice", Groups: []string{"system:authenticated"}}},
		"oneself with a foreign group": {
			subject: &v1alpha1.Subject{User: "alice", Groups: []string{"admins"}}, want: `"admins"`,
		},
		"oneself as an account of kube-system": {
			subject: &v1alpha1.Subject{User: "alice", Groups: []string{kubeSystem}}, want: kubeSystem,
		},
		"oneself as any account": {
			subject: &v1alpha1.Subject{User: "alice", Groups: []string{"system:serviceaccounts"}},
			want:    "system:serviceaccounts",
		},
		"oneself as a master": {
			subject: &v1alpha1.Subject{User: "alice", Groups: []string{"system:masters"}},
			may:     []string{"groups/system:masters", "users/alice"}, want: "which cannot be delegated",
		},
		"another user":            {subject: &v1alpha1.Subject{User: "bob"}, want: "you may not act as them"},
		"another whom one may be": {subject: &v1alpha1.Subject{User: "bob"}, may: []string{"users/bob"}},
		"another whom one may be, with a group": {
			subject: &v1alpha1.Subject{User: "bob", Groups: []string{"ops"}}, may: []string{"users/bob"}, want: `"ops"`,
		},
		"the same, and the group too": {
			subject: &v1alpha1.Subject{User: "bob", Groups: []string{"ops"}}, may: []string{"users/bob", "groups/ops"},
		},
		"another with a group that is implied for others": {
			subject: &v1alpha1.Subject{User: "bob", Groups: []string{kubeSystem}}, may: []string{"users/bob"}, want: kubeSystem,
		},
		"an account": {
			subject: &v1alpha1.Subject{User: robot}, may: []string{"serviceaccounts/robot"},
		},
		"an account with the groups of its name": {
			subject: &v1alpha1.Subject{User: robot, Groups: []string{"system:serviceaccounts", "system:serviceaccounts:agents"}},
			may:     []string{"serviceaccounts/robot"},
		},
		"an account with those of another name": {
			subject: &v1alpha1.Subject{User: robot, Groups: []string{kubeSystem}}, may: []string{"serviceaccounts/robot"},
			want: kubeSystem,
		},
		"the right to be the user is none to be the account": {
			subject: &v1alpha1.Subject{User: robot}, may: []string{"users/" + robot}, want: "you may not act as them",
		},
		"eight groups": {
			subject: &v1alpha1.Subject{User: "bob", Groups: groups(8)}, may: append(prefixed(groups(8)), "users/bob"),
		},
		"nine groups": {
			subject: &v1alpha1.Subject{User: "bob", Groups: groups(9)}, may: append(prefixed(groups(9)), "users/bob"),
			want: "declares 9 groups to impersonate, more than 8",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for _, right := range test.may {
				w.allowed["alice impersonate "+right] = true
			}
			req := request(t, "alice", "DelegationPath", nil, nil)
			req.UserInfo = authenticationv1.UserInfo{Username: "alice", Groups: []string{"sre", "system:authenticated"}}
			finding := newDelegationValidator(w.Options).vouched(t.Context(), req, "spec.origin", test.subject)
			if (finding == nil) != (test.want == "") || finding != nil && !strings.Contains(finding.Message, test.want) {
				t.Errorf("found %v, want %q", finding, test.want)
			}
			if len(w.asked) > 1+maxDeclaredGroups {
				t.Errorf("it took %d questions", len(w.asked))
			}
		})
	}
}

func groups(n int) []string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("g%d", i))
	}
	return list
}

func prefixed(list []string) []string {
	for i := range list {
		list[i] = "groups/" + list[i]
	}
	return list
}

func TestSamePathAndSameHop(t *testing.T) {
	objects := granted()
	path, _ := objects[0].(*v1alpha1.DelegationPath)
	hop, _ := objects[1].(*v1alpha1.DelegationHop)
	for name, test := range map[string]struct {
		change func(*v1alpha1.DelegationPathSpec)
		want   bool
	}{
		"nothing":  {change: func(*v1alpha1.DelegationPathSpec) {}, want: true},
		"reason":   {change: func(s *v1alpha1.DelegationPathSpec) { s.Reason = "drill" }, want: true},
		"suspend":  {change: func(s *v1alpha1.DelegationPathSpec) { s.Suspend = new(true) }, want: true},
		"revoked":  {change: func(s *v1alpha1.DelegationPathSpec) { s.Revoked = &v1alpha1.Revocation{Reason: "x"} }, want: true},
		"origin":   {change: func(s *v1alpha1.DelegationPathSpec) { s.Origin = &v1alpha1.Subject{User: "bob"} }},
		"lifetime": {change: func(s *v1alpha1.DelegationPathSpec) { s.Lifetime.Duration = &metav1.Duration{Duration: time.Second} }},
		"scope":    {change: func(s *v1alpha1.DelegationPathSpec) { s.Scope.Audiences = []string{"vault"} }},
		"risks":    {change: func(s *v1alpha1.DelegationPathSpec) { s.Scope.AcceptedRisks = []v1alpha1.Risk{v1alpha1.RiskStreams} }},
		"hops":     {change: func(s *v1alpha1.DelegationPathSpec) { s.Hops = &v1alpha1.HopBounds{MaxDepth: 2} }},
	} {
		changed := path.DeepCopy()
		test.change(&changed.Spec)
		if got := samePath(changed, path); got != test.want {
			t.Errorf("path, %s: same is %t", name, got)
		}
	}
	for name, test := range map[string]struct {
		change func(*v1alpha1.DelegationHopSpec)
		want   bool
	}{
		"nothing":  {change: func(*v1alpha1.DelegationHopSpec) {}, want: true},
		"revoked":  {change: func(s *v1alpha1.DelegationHopSpec) { s.Revoked = &v1alpha1.Revocation{Reason: "x"} }, want: true},
		"author":   {change: func(s *v1alpha1.DelegationHopSpec) { s.Author = &v1alpha1.Subject{User: "bob"} }},
		"workload": {change: func(s *v1alpha1.DelegationHopSpec) { s.Workload = nil }},
		"token":    {change: func(s *v1alpha1.DelegationHopSpec) { s.Token = &v1alpha1.Token{SecretName: "t"} }},
	} {
		changed := hop.DeepCopy()
		test.change(&changed.Spec)
		if got := sameHop(changed, hop); got != test.want {
			t.Errorf("hop, %s: same is %t", name, got)
		}
	}
}

// below is a hop without a status, as it is applied.
func below(name, parent string) *v1alpha1.DelegationHop {
	h := &v1alpha1.DelegationHop{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "DelegationHop"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: name},
		Spec: v1alpha1.DelegationHopSpec{
			PathRef: v1alpha1.ObjectRef{Name: "contain"}, Author: &v1alpha1.Subject{User: "alice"}, InheritScope: new(true),
		},
	}
	if parent != "" {
		h.Spec.ParentRef = &v1alpha1.ObjectRef{Name: parent}
	}
	return h
}

// wider gives a hop a scope of its own.
func wider(h *v1alpha1.DelegationHop, verbs ...string) *v1alpha1.DelegationHop {
	h.Spec.InheritScope, h.Spec.Scope = nil, &v1alpha1.Scope{Namespaced: []v1alpha1.NamespacedScope{{
		Namespaces: []string{"payments"},
		Rules:      []v1alpha1.ResourceRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: verbs}},
	}}}
	return h
}

func longer(h *v1alpha1.DelegationHop) *v1alpha1.DelegationHop {
	h.Spec.Lifetime = &v1alpha1.Lifetime{Duration: &metav1.Duration{Duration: 99 * time.Hour}}
	return h
}

func TestDelegationValidatorOfChains(t *testing.T) {
	deep := func(p *v1alpha1.DelegationPath, _ *v1alpha1.DelegationHop) {
		p.Spec.Hops = &v1alpha1.HopBounds{MaxDepth: 16}
	}
	tower := granted(deep)
	for i := range 16 {
		name := fmt.Sprintf("h%d", i+1)
		parent := ""
		if i > 0 {
			parent = fmt.Sprintf("h%d", i)
		}
		tower = append(tower, below(name, parent))
	}
	ofOther := &v1alpha1.DelegationHop{
		ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: "x"},
		Spec:       v1alpha1.DelegationHopSpec{PathRef: v1alpha1.ObjectRef{Name: "other"}, InheritScope: new(true)},
	}
	for name, test := range map[string]struct {
		objects     []client.Object
		user        string
		hop         *v1alpha1.DelegationHop
		want        string
		wantWarning string
		wantNot     string
		wantStrict  string // what strict admission denies it for, where it is admitted
	}{
		"below one that exists": {objects: granted(deep), hop: below("report", "isolate")},
		"before its parent":     {objects: granted(deep), hop: below("report", "later"), wantWarning: "ParentNotReady"},
		"before its path":       {objects: []client.Object{}, hop: below("report", ""), wantWarning: "PathNotFound"},
		"below itself": {
			objects: granted(deep), hop: below("report", "report"), want: "the chain comes back to hop agents/report",
		},
		"the one that closes a cycle": {
			objects: append(granted(deep), below("triage", "report")), hop: below("report", "triage"),
			want: "the chain comes back to hop agents/report",
		},
		"below a cycle of others": {
			objects: append(granted(deep), below("a", "b"), below("b", "a")), hop: below("report", "a"),
			wantWarning: "the chain comes back to hop agents/a",
		},
		"the sixteenth":   {objects: tower, hop: below("last", "h15"), wantWarning: "ParentNotReady"},
		"the seventeenth": {objects: tower, hop: below("last", "h16"), want: "DepthExceeded"},
		"deeper than the path allows": {
			objects: granted(), hop: below("report", "isolate"), wantWarning: "depth 2, the path allows 1",
			wantStrict: "depth 2, the path allows 1",
		},
		"wider than its parent": {
			objects: granted(deep), hop: wider(below("report", "isolate"), "list", "get"),
			wantWarning: "ScopeExceedsParent", wantStrict: "ScopeExceedsParent",
		},
		"wider than its path": {
			objects: granted(deep), hop: wider(below("report", ""), "list", "get"), wantWarning: "ScopeExceedsPath", wantStrict: "ScopeExceedsPath",
		},
		"as wide as its path": {objects: granted(deep), hop: wider(below("report", ""), "list")},
		"wider, and wrong itself": {
			objects: granted(deep), hop: wider(below("report", ""), "*"), want: "ScopeAmplifies",
		},
		"wider, of one who may not delegate": {
			objects: granted(deep), user: "mallory", hop: wider(below("report", ""), "get"), want: "NotPermittedToDelegate", wantNot: "ScopeExceeds",
		},
		"longer than its path": {
			objects: granted(deep), hop: longer(below("report", "")), wantWarning: "LifetimeExceedsParent", wantStrict: "LifetimeExceedsParent",
		},
		"in a namespace that the path does not name": {
			objects: granted(func(p *v1alpha1.DelegationPath, _ *v1alpha1.DelegationHop) {
				p.Spec.Hops = &v1alpha1.HopBounds{MaxDepth: 2, Namespaces: []string{"elsewhere"}}
			}),
			hop: below("report", ""), wantWarning: "NamespaceNotAllowed", wantStrict: "NamespaceNotAllowed",
		},
		"of a path beyond its origin": {
			objects: granted(deep, func(p *v1alpha1.DelegationPath, _ *v1alpha1.DelegationHop) {
				p.Spec.Scope.Namespaced[0].Rules[0].Verbs = []string{"delete", "list"}
			}),
			hop: below("report", ""), wantWarning: "ScopeExceedsOrigin",
		},
		"another user's, who learns no more": {
			objects: granted(), user: "mallory", hop: below("report", "isolate"), want: "NotPermittedToDelegate",
			wantNot: "Depth",
		},
		"one with the verb delegate's": {objects: granted(deep), user: "bob", hop: below("report", "isolate")},
		"a child of a hop of another path's": {
			objects: append(granted(deep), ofOther),
			hop:     below("report", "x"), wantWarning: "does not belong to path agents/contain",
			wantStrict: "does not belong to path agents/contain",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, test.objects...)
			w.allowed["bob delegate delegationpaths/contain"] = true
			user := "alice"
			if test.user != "" {
				user = test.user
			}
			test.hop.Spec.Author.User = user
			got := newDelegationValidator(w.Options).Handle(t.Context(), request(t, user, "DelegationHop", test.hop, nil))
			warnings := slices.DeleteFunc(got.Warnings, func(string) bool { return test.wantWarning == "" && got.Allowed })
			checkAnswer(t, got.Allowed, test.want == "", message(got), test.want, warnings, test.wantWarning)
			if test.wantNot != "" && strings.Contains(message(got), test.wantNot) {
				t.Errorf("the answer is %q", message(got))
			}
			w.Strict = true
			strict := newDelegationValidator(w.Options).Handle(t.Context(), request(t, user, "DelegationHop", test.hop, nil))
			if strict.Allowed != (test.want+test.wantStrict == "") || !strings.Contains(message(strict), test.want+test.wantStrict) {
				t.Errorf("strict admission: allowed %t: %q; want %q", strict.Allowed, message(strict), test.want+test.wantStrict)
			}
		})
	}
}

// TestUnchangedHopsAreRecordedWithTheirReason: an update that changes nothing asks nothing, and its audit line has the
// hop's own reason, not that of a path.
func TestUnchangedHopsAreRecordedWithTheirReason(t *testing.T) {
	ready := func(status metav1.ConditionStatus, reason v1alpha1.Reason) func(*v1alpha1.DelegationHop) {
		return func(h *v1alpha1.DelegationHop) {
			h.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: status, Reason: string(reason)}}
		}
	}
	asIs := func(*v1alpha1.DelegationHop) {}
	revoked := func(h *v1alpha1.DelegationHop) { h.Spec.Revoked = &v1alpha1.Revocation{Reason: "false alarm"} }
	for name, test := range map[string]struct {
		stored, change func(*v1alpha1.DelegationHop)
		want           v1alpha1.Reason
	}{
		"one that is granted": {stored: ready(metav1.ConditionTrue, "Granted"), change: asIs, want: v1alpha1.ReasonGranted},
		"one that waits": {
			stored: ready(metav1.ConditionFalse, "ParentNotReady"), change: asIs, want: v1alpha1.ReasonParentNotReady,
		},
		"one that is unknown": {
			stored: ready(metav1.ConditionUnknown, "Undetermined"), change: asIs, want: v1alpha1.ReasonUndetermined,
		},
		"one that has no conditions yet":   {stored: asIs, change: asIs, want: v1alpha1.ReasonNotYetValid},
		"one that is revoked now":          {stored: ready(metav1.ConditionTrue, "Granted"), change: revoked, want: v1alpha1.ReasonRevoked},
		"one that was revoked":             {stored: revoked, change: revoked, want: v1alpha1.ReasonRevoked},
		"a status that the request claims": {stored: asIs, change: ready(metav1.ConditionTrue, "Granted"), want: v1alpha1.ReasonNotYetValid},
	} {
		t.Run(name, func(t *testing.T) {
			stored, updated := below("isolate", ""), below("isolate", "")
			test.stored(stored)
			test.change(updated)
			w := newWorld(t)
			got := newDelegationValidator(w.Options).Handle(t.Context(), request(t, "alice", "DelegationHop", updated, stored))
			if lines := w.lines(); !got.Allowed || len(lines) != 1 || lines[0].Reason != test.want || lines[0].Decision != "Allow" {
				t.Errorf("allowed %t, recorded %+v, want %s", got.Allowed, lines, test.want)
			}
			if len(w.asked) > 0 {
				t.Errorf("it asked %q", w.asked)
			}
		})
	}
}

// TestAcceptedRisks: a path may watch if it names the risk, and who applies it is told what that means.
func TestAcceptedRisks(t *testing.T) {
	watch := func(accepted ...v1alpha1.Risk) []client.Object {
		objects := granted(func(p *v1alpha1.DelegationPath, _ *v1alpha1.DelegationHop) {
			p.Spec.Scope.Namespaced[0].Rules[0].Verbs = []string{"list", "watch"}
			p.Spec.Scope.AcceptedRisks = accepted
		})
		for _, o := range objects {
			if role, ok := o.(*rbacv1.ClusterRole); ok && role.Name != delegation.HopNamespaceRole {
				role.Rules[0].Verbs = append(role.Rules[0].Verbs, "watch")
			}
		}
		return objects
	}
	for name, test := range map[string]struct {
		objects     []client.Object
		old         any
		want        string
		wantWarning string
	}{
		"named": {objects: watch(v1alpha1.RiskStreams), wantWarning: `path "contain" accepts the risk Streams: a watch or a followed log`},
		"not named": {
			objects: watch(), want: "add Streams to scope.acceptedRisks of the path, or use list with polling",
		},
		"not named any more": {
			objects: watch(), old: watch(v1alpha1.RiskStreams)[0], want: "add Streams to scope.acceptedRisks of the path",
		},
		"not needed":            {objects: granted()},
		"named and not changed": {objects: watch(v1alpha1.RiskStreams), old: watch(v1alpha1.RiskStreams)[0]},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, test.objects[2:]...)
			got := newDelegationValidator(w.Options).Handle(t.Context(), request(t, "alice", "DelegationPath", test.objects[0], test.old))
			checkAnswer(t, got.Allowed, test.want == "", message(got), test.want, got.Warnings, test.wantWarning)
		})
	}
}
