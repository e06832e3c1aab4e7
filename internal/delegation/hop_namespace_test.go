package delegation

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// TestHopNamespaceRole: the ClusterRole that is shipped gives what is asked for, and no more.
func TestHopNamespaceRole(t *testing.T) {
	raw, err := os.ReadFile("../../config/rbac/controller.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var role rbacv1.ClusterRole
	for document := range strings.SplitSeq(string(raw), "\n---\n") {
		var found rbacv1.ClusterRole
		if err := yaml.Unmarshal([]byte(document), &found); err == nil && found.Name == HopNamespaceRole {
			role = found
		}
	}
	want := HopNamespaceRights("agents").Namespaced[0].Rules
	got := make([]v1alpha1.ResourceRule, len(role.Rules))
	for i, r := range role.Rules {
		got[i] = v1alpha1.ResourceRule{APIGroups: r.APIGroups, Resources: r.Resources, Verbs: r.Verbs}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the ClusterRole differs (-want +got):\n%s", diff)
	}
}

// TestWithdrawalInAnUnboundNamespace: the status says what is left, and only what is left for this reason waits.
func TestWithdrawalInAnUnboundNamespace(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "x", errors.New("no"))
	timeout := apierrors.NewTimeoutError("slow", 1)
	unbound := func(i *Input) { i.Facts.HopNamespace = Answer{Outcome: Deny} }
	for name, test := range map[string]struct {
		change func(*Input)
		err    error
		want   bool
	}{
		"forbidden":                      {unbound, fmt.Errorf("reading: %w", forbidden), true},
		"several, all forbidden":         {unbound, fmt.Errorf("all: %w", errors.Join(forbidden, errors.Join(forbidden))), true},
		"a binding that was not removed": {unbound, errors.Join(errors.New("no answer"), forbidden), false},
		"a timeout":                      {unbound, errors.Join(forbidden, errors.Join(timeout)), false},
		"nothing is left":                {unbound, nil, false},
		"a namespace that is bound":      {func(i *Input) { i.Facts.Ceiling = Answer{Outcome: Deny} }, forbidden, false},
	} {
		t.Run(name, func(t *testing.T) {
			in := but(ask(path(), hop("isolate", withToken(""))), test.change)
			v := Evaluate(in)
			if got := OnlyUnbound(v, test.err); got != test.want {
				t.Errorf("only unbound: %t", got)
			}
			next := PinReferences(in, v)
			next.ServiceAccountName = "dhop-isolate.1.2"
			next.Credential = &v1alpha1.Credential{SecretName: "isolate-token"}
			SetHopConditions(next, in, v, Applied{Err: test.err})
			i := slices.IndexFunc(next.Conditions, func(c metav1.Condition) bool { return c.Type == v1alpha1.ConditionGranted })
			message := next.Conditions[i].Message
			if says := strings.Contains(message, "left are ServiceAccount dhop-isolate.1.2, Secret isolate-token"); says != test.want {
				t.Errorf("the message is %s", message)
			}
		})
	}
}

func TestSubjectFlag(t *testing.T) {
	for user, want := range map[string]string{
		"":                            "--serviceaccount=wayleave-system:wayleave-controller",
		"system:serviceaccount:ops:w": "--serviceaccount=ops:w",
		"wayleave@example.com":        "--user=wayleave@example.com",
	} {
		if got := subjectFlag(user); got != want {
			t.Errorf("%q: %s", user, got)
		}
	}
}
