//go:build unix

package gitops

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/sync"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/sync/common"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/utils/kube"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/utils/tracing"
	"github.com/fluxcd/pkg/ssa"
	"github.com/go-logr/logr"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/test/cluster"
	"github.com/wayleave/wayleave/test/operator"
)

// commit is what stands in Git. Its names are chosen so that a tool that goes by names changes a hop before its parent, and
// the parent before its path. The second version widens path and hops, and bumps the image of hop and CronJob.
const commit = `
apiVersion: delegation.wayleave.dev/v1alpha1
kind: DelegationHop
metadata: {name: a-report, namespace: NAMESPACE, annotations: {argocd.argoproj.io/sync-wave: "WAVE2"}}
spec:
  pathRef: {name: z-nightly}
  parentRef: {name: b-count}
  lifetime: {duration: LIFETIME}
  scope: {namespaced: [{namespaces: [payments], rules: [{apiGroups: [""], resources: [pods], verbs: VERBS}]}]}
  workload: {kinds: [CronJob, Job], images: ["registry.example.com/agent:VERSION"]}
---
apiVersion: delegation.wayleave.dev/v1alpha1
kind: DelegationHop
metadata: {name: b-count, namespace: NAMESPACE, annotations: {argocd.argoproj.io/sync-wave: "WAVE1"}}
spec:
  pathRef: {name: z-nightly}
  lifetime: {duration: LIFETIME}
  scope: {namespaced: [{namespaces: [payments], rules: [{apiGroups: [""], resources: [pods], verbs: VERBS}]}]}
---
apiVersion: delegation.wayleave.dev/v1alpha1
kind: DelegationPath
metadata: {name: z-nightly, namespace: NAMESPACE}
spec:
  reason: Count the pods of payments every night
  lifetime: {duration: LIFETIME}
  scope: {namespaced: [{namespaces: [payments], rules: [{apiGroups: [""], resources: [pods], verbs: VERBS}]}]}
  hops: {maxDepth: 2}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly, namespace: NAMESPACE, annotations: {argocd.argoproj.io/sync-wave: "WAVE3"}}
spec:
  schedule: "0 3 * * *"
  jobTemplate:
    spec:
      template:
        metadata:
          labels: {delegation.wayleave.dev/hop: a-report}
          annotations: {delegation.wayleave.dev/requires: '[{apiGroups: [""], resources: [pods], verbs: VERBS}]'}
        spec:
          restartPolicy: Never
          containers: [{name: agent, image: "registry.example.com/agent:VERSION"}]
`

// job is a Job of the commit. It cannot be changed, so each version has its own.
const job = `---
apiVersion: batch/v1
kind: Job
metadata: {name: run-VERSION, namespace: NAMESPACE, annotations: {argocd.argoproj.io/sync-wave: "WAVE3"}}
spec:
  template:
    metadata:
      labels: {delegation.wayleave.dev/hop: a-report}
    spec:
      restartPolicy: Never
      containers: [{name: agent, image: "registry.example.com/agent:VERSION"}]
`

// tool applies a commit once.
type tool func(ctx context.Context, namespace string, objects []*unstructured.Unstructured) error

// TestOneCommit: a commit that widens a path and its hops and bumps an image converges, in whatever order.
func TestOneCommit(t *testing.T) {
	t.Chdir("../..") // where the operator is built
	c, err := cluster.Start(t.Context(), cluster.Options{Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	op, err := operator.Start(t.Context(), c, operator.Options{Root: ".", Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(op.Stop)
	admin, err := client.New(c.Config(), client.Options{Scheme: operator.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	robot := c.UserConfig("gitops@example.com")
	platform(t, admin, "gitops@example.com")

	for name, test := range map[string]struct {
		apply tool
		waves bool
		text  string
	}{
		"flux":             {apply: flux(t, robot), text: commit},
		"flux-with-a-job":  {apply: dependsOn(flux(t, robot)), text: commit + job},
		"argocd":           {apply: argocd(robot, false), text: commit},
		"argocd-server":    {apply: argocd(robot, true), text: commit},
		"argocd-waves":     {apply: argocd(robot, false), text: commit + job, waves: true},
		"argocd-waves-ssa": {apply: argocd(robot, true), text: commit + job, waves: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, o := range namespace(name) {
				if err := admin.Create(t.Context(), o); err != nil {
					t.Fatal(err)
				}
			}
			first := version(name, "1", `["get"]`, "1h", test.waves)
			second := version(name, "2", `["get","list"]`, "2h", test.waves)
			for _, v := range []*strings.Replacer{first, second} {
				converges(t, admin, name, test.apply, v.Replace(test.text))
			}
		})
	}
}

// converges applies a commit, again where the tool would try again, until all of it is in effect.
func converges(t *testing.T, admin client.Client, namespace string, apply tool, text string) {
	t.Helper()
	const attempts = 5
	began := time.Now()
	var err error
	for attempt := range attempts {
		objects, failed := operator.Decode([]byte(text))
		if failed != nil {
			t.Fatal(failed)
		}
		if err = apply(t.Context(), namespace, objects); err == nil {
			if err = inEffect(t.Context(), admin, text); err != nil {
				t.Fatalf("applied, and not in effect: %v", err)
			}
			t.Logf("in effect after %d attempts and %s", attempt+1, time.Since(began).Round(time.Millisecond))
			return
		}
		t.Logf("attempt %d: %v", attempt+1, err)
		time.Sleep(time.Second)
	}
	t.Fatalf("not applied in %d attempts: %v", attempts, err)
}

// inEffect waits until each object is as it stands in Git, and path and hops are ready.
func inEffect(ctx context.Context, admin client.Client, text string) error {
	objects, err := operator.Decode([]byte(text))
	if err != nil {
		return err
	}
	deadline := time.Now().Add(30 * time.Second)
	for _, want := range objects {
		for {
			err := check(ctx, admin, want)
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("%s %s: %w", want.GetKind(), want.GetName(), err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	return nil
}

func check(ctx context.Context, admin client.Client, want *unstructured.Unstructured) error {
	key := client.ObjectKeyFromObject(want)
	var conditions []metav1.Condition
	var generation int64
	switch want.GetKind() {
	case "DelegationPath":
		path := &v1alpha1.DelegationPath{}
		if err := admin.Get(ctx, key, path); err != nil {
			return err
		}
		conditions, generation = path.Status.Conditions, path.Generation
	case "DelegationHop":
		hop := &v1alpha1.DelegationHop{}
		if err := admin.Get(ctx, key, hop); err != nil {
			return err
		}
		conditions, generation = hop.Status.Conditions, hop.Generation
	case "CronJob":
		cron := &batchv1.CronJob{}
		if err := admin.Get(ctx, key, cron); err != nil {
			return err
		}
		containers, _, _ := unstructured.NestedSlice(want.Object, "spec", "jobTemplate", "spec", "template", "spec", "containers")
		got := cron.Spec.JobTemplate.Spec.Template.Spec.Containers[0].Image
		if image := containers[0].(map[string]any)["image"]; got != image {
			return fmt.Errorf("its image is %s, not %s", got, image)
		}
		return nil
	default:
		return admin.Get(ctx, key, want.DeepCopy())
	}
	ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
	if ready == nil || ready.Status != metav1.ConditionTrue || ready.ObservedGeneration != generation {
		return fmt.Errorf("it is %+v", ready)
	}
	return nil
}

// version is one version of the commit, with sync waves or without.
func version(namespace, number, verbs, lifetime string, waves bool) *strings.Replacer {
	wave := func(n string) string {
		if waves {
			return n
		}
		return "0"
	}
	return strings.NewReplacer("NAMESPACE", namespace, "VERSION", number, "VERBS", verbs, "LIFETIME", lifetime,
		"WAVE1", wave("1"), "WAVE2", wave("2"), "WAVE3", wave("3"))
}

// platform is what a platform team makes: what may be delegated in payments, and a user for the tools.
func platform(t *testing.T, admin client.Client, user string) {
	t.Helper()
	ceiling := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "ceiling", Labels: map[string]string{v1alpha1.LabelCeiling: "true"}},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get", "list"}}},
	}
	controller := rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: operator.Namespace, Name: "wayleave-controller"}
	for _, o := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "payments"}},
		ceiling,
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: "payments", Name: "ceiling"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: ceiling.Name},
			Subjects:   []rbacv1.Subject{controller},
		},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "gitops"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
		},
	} {
		if err := admin.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
}

func namespace(name string) []client.Object {
	return []client.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, operator.HopNamespace(name)}
}

// flux applies as kustomize-controller does: a dry run of everything, and then everything.
func flux(t *testing.T, config *rest.Config) tool {
	t.Helper()
	c, err := client.New(config, client.Options{Scheme: operator.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context, _ string, objects []*unstructured.Unstructured) error {
		manager := ssa.NewResourceManager(c, nil, ssa.Owner{Field: "kustomize-controller", Group: "kustomize.toolkit.fluxcd.io"})
		_, err := manager.ApplyAllStaged(ctx, objects, ssa.DefaultApplyOptions())
		return err
	}
}

// dependsOn applies Jobs by a Kustomization that depends on that of everything else: Flux would apply them first, and a Job
// that its hop does not allow yet is denied.
func dependsOn(apply tool) tool {
	return func(ctx context.Context, namespace string, objects []*unstructured.Unstructured) error {
		var first, second []*unstructured.Unstructured
		for _, o := range objects {
			if o.GetKind() == "Job" {
				second = append(second, o)
			} else {
				first = append(first, o)
			}
		}
		if err := apply(ctx, namespace, first); err != nil {
			return err
		}
		return apply(ctx, namespace, second)
	}
}

// argocd syncs as Argo CD's application controller does: wave by wave, and in each by kind and name.
func argocd(config *rest.Config, serverSide bool) tool {
	return func(ctx context.Context, namespace string, objects []*unstructured.Unstructured) error {
		kubectl := &kube.KubectlCmd{Log: logr.Discard(), Tracer: tracing.NopTracer{}}
		var phase common.OperationPhase
		var message string
		var results []common.ResourceSyncResult
		began := metav1.Now()
		for !phase.Completed() {
			step, err := live(ctx, kubectl, config, objects)
			if err != nil {
				return err
			}
			options := []sync.SyncOpt{
				sync.WithLogr(logr.Discard()), sync.WithServerSideApply(serverSide), sync.WithServerSideApplyManager("argocd-controller"),
			}
			if phase != "" {
				options = append(options, sync.WithInitialState(phase, message, results, began))
			}
			s, cleanup, err := sync.NewSyncContext("main", step, config, config, kubectl, namespace, options...)
			if err != nil {
				return err
			}
			s.Sync()
			phase, message, results = s.GetState()
			cleanup()
		}
		if phase != common.OperationSucceeded {
			return fmt.Errorf("%s: %s: %+v", phase, message, results)
		}
		return nil
	}
}

// live pairs what stands in Git with what is in the cluster.
func live(
	ctx context.Context, kubectl kube.Kubectl, config *rest.Config, objects []*unstructured.Unstructured,
) (sync.ReconciliationResult, error) {
	var r sync.ReconciliationResult
	for _, o := range objects {
		found, err := kubectl.GetResource(ctx, config, o.GroupVersionKind(), o.GetName(), o.GetNamespace())
		if client.IgnoreNotFound(err) != nil {
			return r, err
		}
		if err != nil {
			found = nil
		}
		r.Live, r.Target = append(r.Live, found), append(r.Target, o.DeepCopy())
	}
	return r, nil
}
