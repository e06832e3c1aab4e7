//go:build unix

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/audit"
)

// named is a user of this test alone.
func (f *fixture) named(name string) string {
	return strings.Replace(f.by, "alice", name, 1)
}

// impersonator lets a user act as others: users, groups, and the ServiceAccounts of the test's namespace.
func (f *fixture) impersonator(user, resource string, names ...string) {
	f.Helper()
	name := fmt.Sprintf("impersonate-%d", counter.Add(1))
	role := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{rule("", resource, "impersonate", names...)},
	}
	f.make(role)
	f.make(&rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
	})
}

// patch changes an object by a JSON merge patch.
func (f *fixture) patch(user string, o client.Object, patch string) error {
	return f.as(user).Patch(f.Context(), o, client.RawPatch(types.MergePatchType, []byte(patch)))
}

// ssa applies an object as kubectl apply --server-side does, and returns it as it is stored.
func (f *fixture) ssa(user, manager string, o client.Object) (*unstructured.Unstructured, error) {
	f.Helper()
	raw, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		f.Fatal(err)
	}
	u := &unstructured.Unstructured{Object: raw}
	gvk, err := suite.admin.GroupVersionKindFor(o)
	if err != nil {
		f.Fatal(err)
	}
	u.SetGroupVersionKind(gvk)
	unstructured.RemoveNestedField(u.Object, "status")
	unstructured.RemoveNestedField(u.Object, "metadata", "creationTimestamp")
	err = f.as(user).Apply(f.Context(), client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(manager))
	return u, err
}

// stored is an object as it is in the cluster, with every field as it was written.
func (f *fixture) stored(o client.Object) *unstructured.Unstructured {
	f.Helper()
	u := f.find(o)
	if u == nil {
		f.Fatalf("%T %s is not there", o, o.GetName())
	}
	return u
}

// find is stored, or nil if there is no such object.
func (f *fixture) find(o client.Object) *unstructured.Unstructured {
	f.Helper()
	gvk, err := suite.admin.GroupVersionKindFor(o)
	if err != nil {
		f.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(gvk)
	if err := suite.admin.Get(f.Context(), client.ObjectKeyFromObject(o), u); apierrors.IsNotFound(err) {
		return nil
	} else if err != nil {
		f.Fatal(err)
	}
	return u
}

// wantDenied requires a denial with all of the texts.
func (f *fixture) wantDenied(err error, texts ...string) {
	f.Helper()
	if err == nil {
		f.Errorf("it was allowed, and should be denied with %q", texts)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			f.Errorf("denied: %v\nwithout: %s", err, text)
		}
	}
}

func (f *fixture) wantAllowed(err error) {
	f.Helper()
	if err != nil {
		f.Errorf("denied: %v", err)
	}
}

// admitted returns the audit lines of the webhook about objects of the test's namespace.
func (f *fixture) admitted(matches func(audit.Record) bool) []audit.Record {
	f.Helper()
	raw, err := os.ReadFile(suite.operator.Log("webhook"))
	if err != nil {
		f.Fatal(err)
	}
	var records []audit.Record
	for line := range strings.Lines(string(raw)) {
		var r audit.Record
		if json.Unmarshal([]byte(line), &r) != nil || r.Verb != "admit" || !strings.Contains(r.Object, " "+f.ns+"/") {
			continue
		}
		if matches(r) {
			records = append(records, r)
		}
	}
	return records
}

// recorded waits for an audit line.
func (f *fixture) recorded(object, decision string, reason v1alpha1.Reason) audit.Record {
	f.Helper()
	var found audit.Record
	f.eventually(fmt.Sprintf("an audit line of %s: %s for %s", object, decision, reason), func() error {
		records := f.admitted(func(r audit.Record) bool {
			return r.Object == object && r.Decision == decision && r.Reason == reason
		})
		if len(records) == 0 {
			return fmt.Errorf("there is none")
		}
		found = records[len(records)-1]
		return nil
	})
	return found
}

// warnings gathers the warnings that the API server sends along.
type warnings struct {
	mu    sync.Mutex
	texts []string
}

func (w *warnings) HandleWarningHeader(_ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.texts = append(w.texts, text)
}

func (w *warnings) all() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.texts, "\n")
}

// warned is a client of a user that keeps the warnings.
func (f *fixture) warned(user string) (client.Client, *warnings) {
	f.Helper()
	w := &warnings{}
	config := suite.cluster.UserConfig(user)
	config.WarningHandler, config.WarningHandlerWithContext = rest.WarningHandler(w), nil
	return f.connect(config), w
}
