//go:build unix

package e2e

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

const (
	lastApplied   = "kubectl.kubernetes.io/last-applied-configuration"
	fullToTheBrim = 262144 - len("filler") - len(v1alpha1.AnnotationChangedBy)
)

func annotated(key string, bytes int) func(metav1.Object) {
	return func(o metav1.Object) { o.SetAnnotations(map[string]string{key: strings.Repeat("x", bytes)}) }
}

func labelled(n int) func(metav1.Object) {
	return func(o metav1.Object) {
		labels := map[string]string{}
		for i := range n {
			labels[fmt.Sprintf("example.com/label-%d", i)] = "x"
		}
		o.SetLabels(labels)
	}
}

func finalized(n int) func(metav1.Object) {
	return func(o metav1.Object) {
		var finalizers []string
		for i := range n {
			finalizers = append(finalizers, fmt.Sprintf("example.com/finalizer-%d", i))
		}
		o.SetFinalizers(finalizers)
	}
}

// owned names owners of a kind that the garbage collector does not find, and so leaves alone.
func owned(n, bytes int) func(metav1.Object) {
	return func(o metav1.Object) {
		var owners []metav1.OwnerReference
		for i := range n {
			owners = append(owners, metav1.OwnerReference{
				APIVersion: "example.com/v1", Kind: "Unknown", Name: strings.Repeat("x", bytes), UID: types.UID(fmt.Sprintf("owner-%d", i)),
			})
		}
		o.SetOwnerReferences(owners)
	}
}

// stripped removes the finalizers of an object at the end of a test.
func (f *fixture) stripped(o client.Object) {
	f.Cleanup(func() {
		_ = suite.admin.Patch(context.Background(), o, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))
	})
}

// TestNoMetadataKeepsFromRevoking: what would leave no room to revoke is refused, and what is at a bound can be suspended,
// resumed, revoked and deleted by a user with a long name.
func TestNoMetadataKeepsFromRevoking(t *testing.T) {
	f := setup(t)
	guard := f.colleague("guard-" + strings.Repeat("g", 600))
	for name, c := range map[string]struct {
		attack, twin func(metav1.Object)
		want         string
	}{
		"an annotation": {
			annotated("filler", fullToTheBrim), annotated("filler", 16384-len("filler")), "metadata.annotations: at most 64",
		},
		"an annotation by a byte": {
			annotated("filler", 16385-len("filler")), annotated("filler", 10), "metadata.annotations: at most 64",
		},
		"last-applied": {
			annotated(lastApplied, 65537), annotated(lastApplied, 65536), "last-applied configuration may have 65,536 bytes",
		},
		"a forged note": {
			annotated("filler", 262144-len("filler")), annotated(v1alpha1.AnnotationChangedBy, 200000), "metadata.annotations",
		},
		"labels": {
			labelled(7984), labelled(64), "metadata.labels: at most 64",
		},
		"labels by one": {
			labelled(65), labelled(64), "metadata.labels: at most 64",
		},
		"finalizers": {
			finalized(17), finalized(16), "metadata.finalizers: at most 16",
		},
		"owners": {
			owned(17, 10), owned(16, 10), "metadata.ownerReferences: at most 16",
		},
		"an owner with a long name": {
			owned(1, 4096), owned(1, 3000), "metadata.ownerReferences: at most 16",
		},
	} {
		id := strings.ReplaceAll(name, " ", "-")
		for _, kind := range []string{"path", "hop"} {
			t.Run(name+" of a "+kind, func(t *testing.T) {
				inner := &fixture{T: t, ns: f.ns, on: f.on, by: f.by}
				object := func(name string) client.Object {
					if kind == "hop" {
						return f.hop(name, "none", "", func(h *v1alpha1.DelegationHop) { h.Spec.Token = nil })
					}
					return f.path(name)
				}
				attack, twin := object("attack-"+id), object("twin-"+id)
				c.attack(attack)
				inner.wantDenied(f.as(f.by).Create(t.Context(), attack), c.want)

				c.twin(twin)
				inner.apply(f.by, twin)
				inner.stripped(twin)
				grown := twin.DeepCopyObject().(client.Object)
				c.attack(grown)
				inner.wantDenied(f.as(f.by).Update(t.Context(), grown), "")
				if kind == "path" {
					inner.wantAllowed(f.patch(guard, twin, `{"spec":{"suspend":true}}`))
					inner.state(twin, v1alpha1.ReasonSuspended)
					inner.wantAllowed(f.patch(guard, twin, `{"spec":{"suspend":false}}`))
				}
				inner.wantAllowed(f.patch(guard, twin, `{"spec":{"revoked":{"reason":"`+strings.Repeat("<", 512)+`"}}}`))
				inner.state(twin, v1alpha1.ReasonRevoked)
				if by := f.changedBy(twin); by != guard {
					t.Errorf("changed by %q", by)
				}
				inner.wantAllowed(f.as(guard).Delete(t.Context(), twin))
			})
		}
	}
}

// TestManagersAreBounded: each manager by server-side apply has a list of its own of the fields that it owns.
func TestManagersAreBounded(t *testing.T) {
	f := setup(t)
	p := f.path("contain")
	f.apply(f.by, p)
	apply := func(n int, o *v1alpha1.DelegationPath) error {
		_, err := f.ssa(f.by, fmt.Sprintf("manager-%d", n), o)
		return err
	}
	for n := range 8 {
		f.wantAllowed(apply(n, f.path("contain")))
	}
	f.wantDenied(apply(8, f.path("contain")), "at most 8 managers")
	f.wantAllowed(apply(7, f.path("contain")))
	f.wantAllowed(apply(9, f.path("contain", func(p *v1alpha1.DelegationPath) { p.Spec.Revoked = &v1alpha1.Revocation{Reason: "x"} })))
	f.state(p, v1alpha1.ReasonRevoked)
}

// TestPathsBeforeThePolicy: a path that is older than the bounds can be made smaller, suspended, revoked and deleted, and its
// state is told. It takes the policy away for a while, so nothing runs beside it.
func TestPathsBeforeThePolicy(t *testing.T) {
	f := setup(t)
	guard := f.colleague("guard-" + strings.Repeat("g", 600))
	big := map[string]func(metav1.Object){
		"annotation": annotated("filler", fullToTheBrim-len(f.by)), "labels": labelled(1000),
		"finalizers": finalized(100), "owners": owned(16, 2000),
	}
	f.withoutMetadataPolicy(func() {
		for name, fill := range big {
			for _, what := range []string{"-revoked", "-deleted"} {
				p := f.path(name + what)
				f.apply(f.by, p)
				f.stripped(p)
				f.eventually("path "+p.Name+" to be filled", func() error {
					if err := suite.admin.Get(f.Context(), client.ObjectKeyFromObject(p), p); err != nil {
						return err
					}
					note := p.Annotations[v1alpha1.AnnotationChangedBy]
					fill(p)
					if p.Annotations == nil {
						p.Annotations = map[string]string{}
					}
					p.Annotations[v1alpha1.AnnotationChangedBy] = note
					return f.as(f.by).Update(f.Context(), p)
				})
			}
		}
	})
	for name, fill := range big {
		t.Run(name, func(t *testing.T) {
			inner := &fixture{T: t, ns: f.ns, on: f.on, by: f.by}
			p := f.path(name + "-revoked")
			inner.state(p, v1alpha1.ReasonActive)
			h := f.hop(name+"-hop", p.Name, "", func(h *v1alpha1.DelegationHop) { h.Spec.Token = nil })
			inner.apply(f.by, h)
			inner.granted(h)
			more := p.DeepCopy()
			fill(more)
			more.Labels = map[string]string{"one": "more"}
			if len(p.Labels) > 1 { // besides the record that the controller keeps
				more.Labels = map[string]string{"one": "more"}
				maps.Copy(more.Labels, p.Labels)
				inner.wantDenied(f.as(f.by).Update(t.Context(), more), "metadata.labels")
			}
			inner.wantAllowed(f.patch(guard, p, `{"spec":{"suspend":true}}`))
			inner.state(p, v1alpha1.ReasonSuspended)
			inner.state(h, v1alpha1.ReasonSuspended)
			inner.wantAllowed(f.patch(guard, p, `{"spec":{"suspend":false}}`))
			inner.state(p, v1alpha1.ReasonActive)
			inner.wantAllowed(f.patch(guard, p, `{"metadata":{"labels":{"example.com/label-0":null}}}`))
			inner.wantAllowed(f.patch(guard, p, `{"spec":{"revoked":{"reason":"false alarm"}}}`))
			inner.state(p, v1alpha1.ReasonRevoked)
			inner.state(h, v1alpha1.ReasonRevoked)

			d := f.path(name + "-deleted")
			g := f.hop(name+"-held", d.Name, "", func(h *v1alpha1.DelegationHop) { h.Spec.Token = nil })
			inner.apply(f.by, g)
			inner.granted(g)
			inner.wantAllowed(f.as(guard).Delete(t.Context(), d))
			inner.state(g, v1alpha1.ReasonPathNotFound)
			inner.nothingLeft(g)
		})
	}
}

// withoutMetadataPolicy does something while the policy on metadata is not in effect.
func (f *fixture) withoutMetadataPolicy(do func()) {
	f.Helper()
	binding := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{}
	key := client.ObjectKey{Name: "metadata.delegation.wayleave.dev"}
	if err := suite.admin.Get(f.Context(), key, binding); err != nil {
		f.Fatal(err)
	}
	if err := suite.admin.Delete(f.Context(), binding); err != nil {
		f.Fatal(err)
	}
	defer func() {
		binding.ResourceVersion, binding.UID = "", ""
		if err := suite.admin.Create(f.Context(), binding); err != nil {
			f.Fatal(err)
		}
		f.eventually("the policy to be in effect again", func() error {
			p := f.path("probe")
			labelled(65)(p)
			if err := f.as(f.by).Create(f.Context(), p, client.DryRunAll); err == nil {
				return errAllowed
			}
			return nil
		})
	}()
	do()
}

// TestLongNames: Kubernetes has no limit on the names of users and groups.
func TestLongNames(t *testing.T) {
	f := setup(t)
	who, group := f.colleague("carol-"+strings.Repeat("c", 600)), strings.Repeat("g", 284)
	f.bind(f.on, who, rule("", "pods,configmaps", "get,list,delete"), rule("networking.k8s.io", "networkpolicies", "create"))
	p := f.path("contain")
	if err := f.as(who, group).Create(f.Context(), p); err != nil {
		t.Fatal(err)
	}
	f.wantSubject(f.origin(p), who, group)
	h := f.hop("isolate", p.Name, "")
	f.wantAllowed(f.as(who, group).Create(f.Context(), h))
	f.wantSubject(f.author(h), who, group)
	longest := strings.Repeat("g", 1024)
	f.wantAllowed(f.as(who, longest).Create(f.Context(), f.path("longest"), client.DryRunAll))
	f.wantDenied(f.as(who, longest+"g").Create(f.Context(), f.path("longer"), client.DryRunAll),
		"one of your groups has a name of 1025 characters, more than the 1024")
	f.state(p, v1alpha1.ReasonActive)
	f.wantAllowed(f.patch(who, p, `{"spec":{"suspend":true}}`))
	f.state(p, v1alpha1.ReasonSuspended)

	endless := f.colleague("dave-" + strings.Repeat("d", 1100))
	f.wantDenied(f.as(endless).Create(f.Context(), f.path("endless")), "characters, more than the 1024")
	f.wantAllowed(f.patch(endless, p, `{"spec":{"suspend":false}}`))
	f.state(p, v1alpha1.ReasonActive)
	f.wantAllowed(f.patch(endless, p, `{"spec":{"revoked":{"reason":"x"}}}`))
	message := f.state(p, v1alpha1.ReasonRevoked)
	if !strings.Contains(message, "dave-") {
		t.Error(message)
	}
	if r := f.recorded("DelegationPath "+f.ns+"/contain", "Allow", v1alpha1.ReasonRevoked); r.Actor != endless {
		t.Errorf("the audit line names %q", r.Actor)
	}
}

// TestAWholePathIsBounded: a scope within all bounds of its lists can still be too large.
func TestAWholePathIsBounded(t *testing.T) {
	f := setup(t)
	f.bind(f.on, f.by, rule("", "secrets", "get"))
	of := func(name string, rules int) *v1alpha1.DelegationPath {
		return f.path(name, func(p *v1alpha1.DelegationPath) {
			p.Spec.Scope.Namespaced[0].Rules = nil
			for i := range rules {
				var names []string
				for j := range 64 {
					names = append(names, fmt.Sprintf("n-%d-%d-%s", i, j, strings.Repeat("x", 220)))
				}
				p.Spec.Scope.Namespaced[0].Rules = append(p.Spec.Scope.Namespaced[0].Rules, resources("", "secrets", "get", names...))
			}
		})
	}
	f.wantDenied(f.as(f.by).Create(f.Context(), of("large", 20)), "no room would be left to revoke it")
	f.apply(f.by, of("fits", 4))
}
