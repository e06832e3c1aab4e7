//go:build unix

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// approver is a user who may approve paths of the test.
func (f *fixture) approver(name string) string {
	f.Helper()
	user := f.named(name)
	f.bind(f.ns, user, rule(v1alpha1.GroupName, "delegationpaths", "get,list,approve"),
		rule(v1alpha1.GroupName, "delegationapprovals", "create"))
	return user
}

// waits waits until a path waits for approval of its hops as they are.
func (f *fixture) waits(p *v1alpha1.DelegationPath, reasons ...v1alpha1.Reason) {
	f.Helper()
	f.state(p, append(reasons, v1alpha1.ReasonApprovalMissing)...)
}

// decision is what a user decides about a path as its status shows it.
func (f *fixture) decision(p *v1alpha1.DelegationPath, change ...func(*v1alpha1.DelegationApproval)) *v1alpha1.DelegationApproval {
	expires := metav1.NewTime(time.Now().Add(30 * time.Minute).Truncate(time.Second))
	a := &v1alpha1.DelegationApproval{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: fmt.Sprintf("a%d", counter.Add(1))},
		Spec: v1alpha1.DelegationApprovalSpec{
			Path: v1alpha1.ApprovedPath{Name: p.Name, UID: string(p.UID)}, Digest: p.Status.Digest,
			Decision: v1alpha1.DecisionApproved, Reason: "looks right", ExpiresAt: expires,
		},
	}
	for _, c := range change {
		c(a)
	}
	return a
}

// approve has a user approve a path as it settles: a hop that was created just now is in its digest within a second.
func (f *fixture) approve(p *v1alpha1.DelegationPath, user string) *v1alpha1.DelegationApproval {
	f.Helper()
	var a *v1alpha1.DelegationApproval
	f.eventually(user+" to approve path "+p.Name, func() error {
		if err := suite.admin.Get(f.Context(), client.ObjectKeyFromObject(p), p); err != nil {
			return err
		}
		if p.Status.Digest == "" {
			return fmt.Errorf("it has no digest")
		}
		a = f.decision(p)
		return f.as(user).Create(f.Context(), a)
	})
	return a
}

func denies(a *v1alpha1.DelegationApproval) { a.Spec.Decision = v1alpha1.DecisionDenied }

// inNeed is a path that takes approvals by a rule, with a hop, both applied.
func (f *fixture) inNeed(rule v1alpha1.ApprovalRule) (*v1alpha1.DelegationPath, *v1alpha1.DelegationHop) {
	f.Helper()
	p := f.path("contain", func(p *v1alpha1.DelegationPath) { p.Spec.Approval = &rule })
	h := f.hop("isolate", "contain", "")
	f.apply(f.by, p, h)
	f.waits(p)
	return p, h
}

// TestApproval: two people approve exactly what was shown; then it runs, until what was approved ends, and it is told who did, also
// when their records are gone.
func TestApproval(t *testing.T) {
	f := hopSetup(t)
	bob, carol := f.approver("bob"), f.approver("carol")
	p, h := f.inNeed(v1alpha1.ApprovalRule{Count: 2})
	f.eventually("the path to wait with its hop", func() error {
		var waiting v1alpha1.DelegationPathList
		err := suite.admin.List(t.Context(), &waiting, client.InNamespace(f.ns), client.MatchingFields{"status.approval.state": "Pending"})
		if err == nil && len(waiting.Items) != 1 {
			err = fmt.Errorf("%d paths wait", len(waiting.Items))
		}
		return err
	})
	first := f.approve(p, bob)
	if says := f.state(p, v1alpha1.ReasonApprovalMissing); !strings.Contains(says, "1 of 2 approvals were given") &&
		!strings.Contains(says, "0 of 2 approvals were given") || !strings.Contains(says, "holds the verb approve") {
		t.Errorf("the path says %q", says)
	}
	f.wantDenied(f.as(bob).Create(t.Context(), f.decision(p)), "NotPermittedToApprove", "has approved path")
	if a := first.Spec.Approver; a == nil || a.User != bob {
		t.Errorf("the approver is %+v", a)
	}
	second := f.approve(p, carol)
	f.granted(h)
	f.state(p, v1alpha1.ReasonActive)
	a := p.Status.Approval
	if a.State != v1alpha1.ApprovalApproved || len(a.Decisions) != 2 || p.Status.ExpiresAt.After(first.Spec.ExpiresAt.Time) {
		t.Errorf("the path says %+v, and ends %s", a, p.Status.ExpiresAt)
	}
	if last := p.Status.History[len(p.Status.History)-1]; !strings.Contains(last.Actor, bob) || !strings.Contains(last.Actor, carol) {
		t.Errorf("the history says %+v", last)
	}
	for _, a := range []*v1alpha1.DelegationApproval{first, second} {
		if err := suite.admin.Delete(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	identity := f.withToken(f.token(h))
	f.eventually("the hop to work", func() error { return f.read(identity) })

	f.apply(f.by, f.hop("more", "contain", "")) // a hop that nobody was shown
	f.state(p, v1alpha1.ReasonApprovalStale)
	f.state(h, v1alpha1.ReasonApprovalStale)
	if p.Status.Approval.State != v1alpha1.ApprovalPending {
		t.Errorf("the path says %+v", p.Status.Approval)
	}
}

// TestHopMadeAnewIsNotApproved: a hop that is deleted and made anew says what was approved, but its uses would begin anew.
func TestHopMadeAnewIsNotApproved(t *testing.T) {
	f := hopSetup(t)
	bob := f.approver("bob")
	p, h := f.inNeed(v1alpha1.ApprovalRule{Count: 1})
	f.approve(p, bob)
	f.granted(h)
	time.Sleep(1100 * time.Millisecond)
	f.remove(f.by, h)
	h = f.hop("isolate", "contain", "")
	f.apply(f.by, h)
	time.Sleep(time.Second)
	f.state(h, v1alpha1.ReasonApprovalStale)
	f.state(p, v1alpha1.ReasonApprovalStale)
	f.approve(p, bob)
	f.granted(h)
}

// TestApprovalIsRefused: what must not count is told to who tries it, each with its reason.
func TestApprovalIsRefused(t *testing.T) {
	f := hopSetup(t)
	bob := f.approver("bob")
	f.approver("alice") // the origin
	p, _ := f.inNeed(v1alpha1.ApprovalRule{Count: 1, Approvers: []v1alpha1.ApproverRef{
		{Kind: v1alpha1.ApproverUser, Name: bob}, {Kind: v1alpha1.ApproverUser, Name: f.by},
	}})
	machine := "system:serviceaccount:" + f.ns + ":portal"
	for _, user := range []string{machine, f.named("dave")} {
		f.bind(f.ns, user, rule(v1alpha1.GroupName, "delegationpaths", "approve"), rule(v1alpha1.GroupName, "delegationapprovals", "create"))
	}
	f.bind(f.ns, f.named("eve"), rule(v1alpha1.GroupName, "delegationapprovals", "create"))
	f.eventually("the digest to settle", func() error {
		f.waits(p)
		return f.as(bob).Create(t.Context(), f.decision(p), client.DryRunAll)
	})
	for name, test := range map[string]struct {
		by     string
		change func(*v1alpha1.DelegationApproval)
		says   string
	}{
		"another text": {bob, func(a *v1alpha1.DelegationApproval) {
			a.Spec.Digest = "sha256:" + strings.Repeat("0", 64)
		}, "ApprovalStale"},
		"a path made anew": {bob, func(a *v1alpha1.DelegationApproval) {
			a.Spec.Path.UID = "another"
		}, "is another one than the one decided on"},
		"a path that does not exist": {bob, func(a *v1alpha1.DelegationApproval) { a.Spec.Path.Name = "later" }, "NotPermittedToApprove"},
		"a time that has passed": {bob, func(a *v1alpha1.DelegationApproval) {
			a.Spec.ExpiresAt = metav1.NewTime(time.Now().Add(-time.Minute))
		}, "ApprovalExpired"},
		"the origin":            {f.by, nil, "is the origin of the path"},
		"a machine":             {machine, nil, "is no person"},
		"who is not among them": {f.named("dave"), nil, "is not among spec.approval.approvers"},
		"who may not":           {f.named("eve"), nil, "get a Role in this namespace that gives"},
		"who may not, of another one": {f.named("eve"), func(a *v1alpha1.DelegationApproval) {
			a.Spec.Path.Name = "later"
		}, "get a Role in this namespace that gives"},
	} {
		a := f.decision(p)
		if test.change != nil {
			test.change(a)
		}
		if name == "a path that does not exist" {
			f.bind(f.ns, bob, rule(v1alpha1.GroupName, "delegationpaths", "approve"))
		}
		f.eventually(name+" to be refused for its reason", func() error {
			err := f.as(test.by).Create(t.Context(), a.DeepCopy())
			if err == nil || !strings.Contains(err.Error(), test.says) {
				return fmt.Errorf("%w, want a denial that says %q", orAllowed(err), test.says)
			}
			return nil
		})
	}
	forged := f.decision(p, func(a *v1alpha1.DelegationApproval) {
		a.Spec.Approver = &v1alpha1.Approver{User: "root", CredentialID: "x"}
	})
	err := f.as(bob).Create(t.Context(), forged)
	if who := forged.Spec.Approver; err != nil || who.User != bob || !strings.HasPrefix(who.CredentialID, "X509SHA256=") {
		t.Errorf("who names another approver is noted as %+v (%v)", who, err)
	}
	f.state(p, v1alpha1.ReasonActive)
	other := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"decision":"Denied"}}`))
	err = suite.admin.Patch(t.Context(), forged, other)
	if err == nil || !strings.Contains(err.Error(), "a decision is final") {
		t.Errorf("a decision is changed: %v", err)
	}
	f.wantDenied(f.as(bob).Create(t.Context(), f.decision(p)), "NotPermittedToApprove", "approved")
}

// TestDenialEndsAPath: for good, whatever becomes of its record; and a path made anew needs approvals of its own.
func TestDenialEndsAPath(t *testing.T) {
	f := hopSetup(t)
	bob, carol := f.approver("bob"), f.approver("carol")
	p, h := f.inNeed(v1alpha1.ApprovalRule{Count: 2, Covers: v1alpha1.CoversEnvelope})
	approval := f.approve(p, bob)
	denial := f.decision(p, denies)
	if err := f.as(carol).Create(t.Context(), denial); err != nil {
		t.Fatal(err)
	}
	f.state(p, v1alpha1.ReasonApprovalDenied)
	f.state(h, v1alpha1.ReasonApprovalDenied)
	f.wantDenied(f.as(carol).Create(t.Context(), f.decision(p)), "ApprovalDenied", "has ended")
	if err := suite.admin.Delete(t.Context(), denial); err != nil {
		t.Fatal(err)
	}
	f.change(f.by, p, `{"spec":{"lifetime":{"duration":"30m"}}}`)
	f.state(p, v1alpha1.ReasonApprovalDenied)
	f.change(f.by, p, `{"spec":{"approval":null}}`) // nor does the author end that it takes approval
	f.apply(f.by, f.hop("later", "contain", ""))
	time.Sleep(time.Second)
	f.state(p, v1alpha1.ReasonApprovalDenied)

	f.remove(f.by, p)
	again := f.path("contain", func(p *v1alpha1.DelegationPath) {
		p.Spec.Approval = &v1alpha1.ApprovalRule{Count: 1, Covers: v1alpha1.CoversEnvelope}
	})
	f.apply(f.by, again)
	f.waits(again)
	replay := approval.DeepCopy()
	replay.ResourceVersion, replay.Name = "", "replay"
	f.wantDenied(f.as(bob).Create(t.Context(), replay), "is another one than the one decided on")
	f.approve(again, bob)
	f.state(again, v1alpha1.ReasonActive)
}

// TestCeilingRequiresApproval: the platform decides where approval is needed, and how long and deep what uses its ceiling may be.
func TestCeilingRequiresApproval(t *testing.T) {
	f := hopSetup(t)
	bob := f.approver("bob")
	p := f.path("contain", func(p *v1alpha1.DelegationPath) { p.Spec.Scope = f.scope(resources("", "configmaps", "get,list")) })
	f.apply(f.by, p)
	f.state(p, v1alpha1.ReasonActive)
	ceiling := f.annotatedCeiling(f.on, map[string]string{
		v1alpha1.AnnotationRequiresApproval: "true", v1alpha1.AnnotationMaxLifetime: "30m",
	}, rule("", "configmaps", "list"))
	f.state(p, v1alpha1.ReasonLifetimeExceedsCeiling)
	f.change(f.by, p, `{"spec":{"lifetime":{"duration":"30m"}}}`)
	f.waits(p)
	f.approve(p, bob)
	f.state(p, v1alpha1.ReasonActive)

	other := f.path("other", func(p *v1alpha1.DelegationPath) { p.Spec.Scope = f.scope(resources("", "pods", "get")) })
	f.apply(f.by, other)
	f.state(other, v1alpha1.ReasonActive) // it does not use that ceiling

	ceiling.Annotations[v1alpha1.AnnotationRequiresApproval] = "perhaps"
	if err := suite.admin.Update(t.Context(), ceiling); err != nil {
		t.Fatal(err)
	}
	f.state(p, v1alpha1.ReasonUndetermined)
}

// TestStrangersVoidNoApproval: whoever may make hops somewhere can name a path in them, and changes nothing about what was approved.
func TestStrangersVoidNoApproval(t *testing.T) {
	f := hopSetup(t)
	bob := f.approver("bob")
	p, h := f.inNeed(v1alpha1.ApprovalRule{Count: 1})
	mallory := f.named("mallory")
	f.bind(f.ns, mallory, rule(v1alpha1.GroupName, "delegationhops", "create"))
	f.approve(p, bob)
	f.granted(h)
	f.eventually("a stranger's hop to be refused", func() error {
		err := f.as(mallory).Create(t.Context(), f.hop("theirs", "contain", ""))
		if err == nil || !strings.Contains(err.Error(), "NotPermittedToDelegate") {
			return fmt.Errorf("it is not: %w", orAllowed(err))
		}
		return nil
	})
	// One from before the path was, which was let in since the path did not exist then.
	delegate := f.bind(f.ns, mallory, rule(v1alpha1.GroupName, "delegationpaths", "delegate"))
	theirs := f.hop("theirs", "contain", "")
	f.eventually("a hop of who may delegate", func() error { return f.as(mallory).Create(t.Context(), theirs) })
	f.state(p, v1alpha1.ReasonApprovalStale)
	if err := suite.admin.Delete(t.Context(), delegate); err != nil {
		t.Fatal(err)
	}
	f.state(p, v1alpha1.ReasonActive)
	f.state(theirs, v1alpha1.ReasonNotPermittedToDelegate)
}
