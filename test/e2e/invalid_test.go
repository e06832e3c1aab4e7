//go:build unix

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/test/crd"
	"github.com/wayleave/wayleave/test/operator"
)

// everyWorkload is whatever may run.
var everyWorkload = []struct{ group, resources string }{
	{"", "pods,podtemplates,replicationcontrollers,serviceaccounts"},
	{"batch", "jobs,cronjobs"},
	{"apps", "deployments,statefulsets,daemonsets,replicasets"},
}

// gallery is where the files of config/invalid are applied: its users and namespaces have the test's own names.
type gallery struct {
	*fixture
	replacer *strings.Replacer
	bob      string
	// elsewhere is the namespace of no path.
	elsewhere string
	// applied are the bases that exist in the cluster, for the files that follow.
	applied map[string][]client.Object
}

func newGallery(t *testing.T) *gallery {
	t.Helper()
	f := setupOn(t, false) // the answers are those of the webhook
	g := &gallery{fixture: f, bob: strings.Replace(f.by, "alice", "bob", 1), applied: map[string][]client.Object{}}
	agents := strings.Replace(f.ns, "agents", "elsewhere", 1)
	g.elsewhere = agents
	f.namespace(agents)
	f.make(operator.HopNamespace(agents))
	g.replacer = strings.NewReplacer("incident-response", f.ns, "payments", f.on, "namespace: agents", "namespace: "+agents,
		`namespace "agents"`, `namespace "`+agents+`"`, "alice@example.com", f.by, "bob@example.com", g.bob)
	f.bind(f.on, f.by, rule("", "pods", "deletecollection,watch"), rule("", "pods/log", "get"))
	for _, user := range []string{f.by, g.bob} {
		f.bind(agents, user, rule(v1alpha1.GroupName, "delegationhops", "get,create,patch"))
		f.bind(f.ns, user, rule(v1alpha1.GroupName, "delegationpaths,delegationhops", "get,create,update,patch"))
		f.bind(f.ns, user, rule(v1alpha1.GroupName, "delegationapprovals", "create"))
		for _, w := range everyWorkload {
			f.bind(f.ns, user, rule(w.group, w.resources, "get,create,update,patch"))
		}
	}
	return g
}

func (g *gallery) read(name string) crd.File {
	g.Helper()
	file, err := crd.Read(root, name, g.replacer)
	if err != nil {
		g.Fatal(err)
	}
	return file
}

// strict is a client that has unknown fields rejected, as kubectl does.
func (g *gallery) strict(user string) client.Client {
	return client.WithFieldValidation(g.as(user), "Strict")
}

// put applies an object as kubectl apply --server-side does.
func (g *gallery) put(user string, o *unstructured.Unstructured) error {
	return g.as(user).Apply(
		g.Context(), client.ApplyConfigurationFromUnstructured(o.DeepCopy()), client.FieldOwner("kubectl"),
		client.ForceOwnership,
	)
}

// give ensures that exactly these bases exist.
func (g *gallery) give(names []string) {
	g.Helper()
	for name, objects := range g.applied {
		if !slices.Contains(names, name) {
			g.take(objects...)
			delete(g.applied, name)
		}
	}
	for _, name := range names {
		if g.applied[name] != nil {
			continue
		}
		o := g.read(name).Objects[0]
		if err := g.put(g.by, o); err != nil {
			g.Fatalf("applying %s: %v", name, err)
		}
		g.applied[name] = []client.Object{o}
	}
}

// take removes objects and waits until they no longer exist.
func (g *gallery) take(objects ...client.Object) {
	g.Helper()
	for _, o := range objects {
		g.eventually(o.GetName()+" to be deleted", func() error {
			err := suite.admin.Delete(context.Background(), o, client.GracePeriodSeconds(0))
			if apierrors.IsNotFound(err) {
				return nil
			}
			return fmt.Errorf("deleting it: %w", orAllowed(err))
		})
	}
}

// granted waits until the hop that pods of the gallery declare has its identity.
func (g *gallery) granted() {
	g.Helper()
	if hops := g.applied["base/hop"]; hops != nil {
		h := &v1alpha1.DelegationHop{}
		h.Namespace, h.Name = hops[0].GetNamespace(), hops[0].GetName()
		g.valid(h)
	}
}

func (g *gallery) accepts(t *testing.T, name string) {
	t.Helper()
	inner := *g
	inner.fixture = &fixture{T: t, ns: g.ns, on: g.on, by: g.by}
	file := inner.read(name)
	inner.give(file.Given)
	inner.granted()
	if err := inner.strict(g.by).Create(t.Context(), file.Objects[0].DeepCopy(), client.DryRunAll); err != nil {
		t.Errorf("rejected: %v", err)
	}
}

// answer applies a file as its user, and takes it away again.
func (g *gallery) answer(file crd.File) (warned string, err error) {
	g.Helper()
	g.give(file.Given)
	first := file.Objects[0]
	if !strings.HasPrefix(file.Name, "path-") && !strings.HasPrefix(file.Name, "hop-") {
		g.granted()
	}
	user := file.As
	if user == "" {
		user = g.by
	}
	if file.Update {
		if err := g.put(g.by, first); err != nil {
			g.Fatalf("the object to be changed is rejected: %v", err)
		}
		err := g.put(user, file.Objects[1])
		g.take(first)
		return "", err
	}
	c, warnings := g.warned(user)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		err = client.WithFieldValidation(c, "Strict").Create(g.Context(), first.DeepCopy())
		if err == nil || !strings.Contains(err.Error(), "error looking up service account") {
			break // else the webhook has not heard yet that the hop is another one of its name
		}
	}
	g.take(first)
	return warnings.all(), err
}

// rejects tests that a file is rejected, or only warned of where strict admission alone rejects it.
func (g *gallery) rejects(t *testing.T, name string, strict bool) {
	t.Helper()
	inner := *g
	inner.fixture = &fixture{T: t, ns: g.ns, on: g.on, by: g.by}
	file := inner.read(name)
	answer, err := inner.answer(file)
	if wantErr := strict || !file.Strict; (err != nil) != wantErr || apierrors.IsInternalError(err) {
		t.Fatalf("answered: %v", orAllowed(err))
	} else if wantErr {
		answer = err.Error()
	}
	for _, text := range file.Denied {
		if !strings.Contains(answer, text) {
			t.Errorf("answered: %s\nwithout: %s", answer, text)
		}
	}
}

// strictly has what the test's namespaces are asked validated under strict admission, too.
func (g *gallery) strictly() {
	g.Helper()
	const strictWebhook = "strict"
	url, err := suite.operator.StartAnotherWebhook(g.Context(), strictWebhook, "--strict-admission")
	if err != nil {
		g.Fatal(err)
	}
	g.Cleanup(func() { suite.operator.Kill(strictWebhook) })
	var installed admissionregistrationv1.ValidatingWebhookConfiguration
	if err := suite.admin.Get(g.Context(), client.ObjectKey{Name: "wayleave"}, &installed); err != nil {
		g.Fatal(err)
	}
	strict := &admissionregistrationv1.ValidatingWebhookConfiguration{Webhooks: installed.Webhooks}
	strict.Name = "wayleave-strict-" + g.ns
	for i := range strict.Webhooks {
		hook := &strict.Webhooks[i]
		path := (*hook.ClientConfig.URL)[strings.LastIndex(*hook.ClientConfig.URL, "/"):]
		hook.Name, hook.ClientConfig.URL = "strict."+hook.Name, new(url+path)
		hook.NamespaceSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{
			Key: corev1.LabelMetadataName, Operator: metav1.LabelSelectorOpIn, Values: []string{g.ns, g.elsewhere},
		}}}
	}
	g.make(strict)
}

// TestInvalid: the files in config/invalid are rejected, each for the reason that it states, and what it is made
// of is accepted.
func TestInvalid(t *testing.T) {
	g := newGallery(t)
	each := func(folder string, check func(t *testing.T, name string)) {
		names, err := crd.Names(root, folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			t.Run(name, func(t *testing.T) { check(t, name) })
		}
	}
	each("base", g.accepts)
	each("", func(t *testing.T, name string) {
		t.Helper()
		g.rejects(t, name, false)
	})

	g.strictly()
	probe := g.read("hop-outlives-path")
	g.eventually("strict admission", func() error {
		_, err := g.answer(probe)
		if err == nil {
			return fmt.Errorf("a file is accepted that strict admission rejects")
		}
		return nil
	})
	each("", func(t *testing.T, name string) {
		t.Helper()
		if g.read(name).Strict {
			g.rejects(t, name, true)
		}
	})
	g.give(nil)
}
