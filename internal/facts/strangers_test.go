package facts

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

func pathOf(user string) *v1alpha1.DelegationPath {
	path := &v1alpha1.DelegationPath{ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: "contain", UID: "path"}}
	path.Spec.Origin = &v1alpha1.Subject{User: user}
	return path
}

// TestStrangersCostOneQuestion: whoever may create hops names a path in as many of them as they like, and their groups in as many ways.
func TestStrangersCostOneQuestion(t *testing.T) {
	path, asked := pathOf("alice"), 0
	own := hopOf("contain", "", "own")
	own.UID, own.Spec.Author = "own", path.Spec.Origin
	objects := []client.Object{path, own}
	for i := range 100 {
		hop := hopOf("contain", "", fmt.Sprintf("h%d", i))
		hop.UID, hop.Spec.Author = types.UID(hop.Name), &v1alpha1.Subject{User: "mallory", Groups: []string{fmt.Sprintf("g%d", i)}}
		objects = append(objects, hop)
	}
	g := gathererOn(t, &asked, objects...)
	hops, err := g.hopsOf(t.Context(), path, nil)
	if err != nil || len(hops) != 1 || hops[0].Name != "own" {
		t.Errorf("%d hops are of the path (%v)", len(hops), err)
	}
	if asked > 250 { // one subject with 100 groups: a list of bindings for each, of the namespace and of the cluster
		t.Errorf("%d questions", asked)
	}
}

// TestDecisionsOfOthersTakeNoPlace: a record that names the UID of a path, and another name, was not asked about that path.
func TestDecisionsOfOthersTakeNoPlace(t *testing.T) {
	path, asked, now := pathOf("alice"), 0, time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	decision := func(name, of string, at time.Time) *v1alpha1.DelegationApproval {
		return &v1alpha1.DelegationApproval{
			ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: name, CreationTimestamp: metav1.NewTime(at)},
			Spec: v1alpha1.DelegationApprovalSpec{
				Path: v1alpha1.ApprovedPath{Name: of, UID: "path"}, Approver: &v1alpha1.Approver{User: "bob"},
				Decision: v1alpha1.DecisionApproved,
			},
		}
	}
	objects := []client.Object{path, decision("real", path.Name, now)}
	for i := range maxDecisions {
		objects = append(objects, decision(fmt.Sprintf("d%d", i), "other", now.Add(time.Second)))
	}
	decided, err := gathererOn(t, &asked, objects...).decisions(t.Context(), path, true)
	if err != nil || len(decided) != 1 || decided[0].Name != "real" {
		t.Errorf("%d decisions (%v)", len(decided), err)
	}
	denial := decision("denial", path.Name, now.Add(-time.Minute))
	denial.Spec.Decision = v1alpha1.DecisionDenied
	objects = append(objects, denial)
	for i := range maxDecisions {
		objects = append(objects, decision(fmt.Sprintf("a%d", i), path.Name, now))
	}
	g := gathererOn(t, &asked, objects...)
	for _, approvals := range []bool{true, false} { // of a path, and of a hop
		decided, err := g.decisions(t.Context(), path, approvals)
		if err != nil || len(decided) == 0 || decided[0].Name != "denial" || len(decided) > 1 != approvals {
			t.Errorf("%d decisions with a denial among them (%v)", len(decided), err)
		}
	}
}

// TestWhoMadeAHopIsTheSamePerson: also where their name has spaces around it.
func TestWhoMadeAHopIsTheSamePerson(t *testing.T) {
	hop := hopOf("contain", "", "own")
	hop.Spec.Author = &v1alpha1.Subject{User: " Bob"}
	if partOf([]*v1alpha1.DelegationHop{hop})[delegation.Person(" Bob")] == "" {
		t.Error("who made a hop is no part of the path")
	}
}
