//go:build unix

package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/audit"
)

const agent = "registry.example.com/agent:1.4"

// runs lets a hop run all kinds of workload, and have no token to take away.
func runs(h *v1alpha1.DelegationHop) {
	h.Spec.Token = nil
	h.Spec.Workload = &v1alpha1.Workload{
		Kinds:  []v1alpha1.WorkloadKind{v1alpha1.WorkloadPod, v1alpha1.WorkloadJob, v1alpha1.WorkloadCronJob},
		Images: []string{"registry.example.com/agent:*"},
	}
}

func podSpec() corev1.PodSpec {
	return corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "agent", Image: agent}}}
}

func declares(hop string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Labels: map[string]string{v1alpha1.LabelHop: hop}}
}

func (f *fixture) pod(name, hop string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: declares(hop), Spec: podSpec()}
	p.Namespace, p.Name = f.ns, name
	for _, c := range change {
		c(p)
	}
	return p
}

func (f *fixture) job(name, hop string, change ...func(*corev1.PodTemplateSpec)) *batchv1.Job {
	j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: name}, Spec: batchv1.JobSpec{
		Template: corev1.PodTemplateSpec{ObjectMeta: declares(hop), Spec: podSpec()},
	}}
	for _, c := range change {
		c(&j.Spec.Template)
	}
	return j
}

func (f *fixture) cronJob(name, hop string) *batchv1.CronJob {
	return &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: name}, Spec: batchv1.CronJobSpec{
		Schedule: "* * * * *", JobTemplate: batchv1.JobTemplateSpec{Spec: f.job("", hop).Spec},
	}}
}

// chain applies a path with one hop that runs workload, and waits for its grant.
func (f *fixture) chain(change ...func(*v1alpha1.DelegationHop)) (*v1alpha1.DelegationPath, *v1alpha1.DelegationHop) {
	f.Helper()
	p, h := f.path("contain"), f.hop("isolate", "contain", "", append([]func(*v1alpha1.DelegationHop){runs}, change...)...)
	f.apply(f.by, p, h)
	f.state(p, v1alpha1.ReasonActive)
	f.valid(h)
	return p, h
}

// usable waits until the webhook, too, knows that a hop is granted.
func (f *fixture) usable(hop string) {
	f.Helper()
	f.eventually("hop "+hop+" to be usable", func() error { return f.creates(f.by, f.pod("dhop-probe", hop)) })
}

// creates says what comes of a create, and leaves nothing behind.
func (f *fixture) creates(user string, o client.Object) error {
	return f.as(user).Create(f.Context(), o, client.DryRunAll)
}

// podsOf are the pods that the Job controller has made.
func (f *fixture) podsOf(job string) []corev1.Pod {
	f.Helper()
	var pods corev1.PodList
	if err := suite.admin.List(f.Context(), &pods, client.InNamespace(f.ns), client.MatchingLabels{batchv1.JobNameLabel: job}); err != nil {
		f.Fatal(err)
	}
	return pods.Items
}

// madeBy waits for the first pod of a Job.
func (f *fixture) madeBy(job string) corev1.Pod {
	f.Helper()
	var pod corev1.Pod
	f.eventually("a pod of Job "+job, func() error {
		pods := f.podsOf(job)
		if len(pods) == 0 {
			return fmt.Errorf("there is none")
		}
		pod = pods[0]
		return nil
	})
	return pod
}

// wantAssigned demands that a pod is the hop's alone.
func (f *fixture) wantAssigned(p corev1.Pod, h *v1alpha1.DelegationHop) {
	f.Helper()
	if !strings.HasPrefix(p.Name, v1alpha1.AccountPrefix) {
		f.Errorf("the pod is called %s", p.Name)
	}
	if p.Spec.ServiceAccountName != h.Status.ServiceAccountName {
		f.Errorf("the pod runs as %s, the hop's account is %s", p.Spec.ServiceAccountName, h.Status.ServiceAccountName)
	}
	if a := p.Spec.AutomountServiceAccountToken; a == nil || *a {
		f.Error("a token is mounted automatically")
	}
	if g := p.Spec.TerminationGracePeriodSeconds; g == nil || *g > 30 {
		f.Errorf("the grace period is %v", g)
	}
	tokens := 0
	for _, v := range p.Spec.Volumes {
		if v.Projected == nil {
			continue
		}
		for _, s := range v.Projected.Sources {
			if s.ServiceAccountToken != nil {
				tokens++
				if *s.ServiceAccountToken.ExpirationSeconds != 600 {
					f.Errorf("volume %s has a token of %d s", v.Name, *s.ServiceAccountToken.ExpirationSeconds)
				}
			}
		}
	}
	if tokens != 1 {
		f.Errorf("the pod has %d tokens: %+v", tokens, p.Spec.Volumes)
	}
	for _, c := range append(p.Spec.InitContainers, p.Spec.Containers...) {
		mounts := 0
		for _, m := range c.VolumeMounts {
			if m.MountPath == "/var/run/secrets/kubernetes.io/serviceaccount" {
				mounts++
			}
		}
		if mounts != 1 {
			f.Errorf("container %s has %d mounts where tokens are", c.Name, mounts)
		}
	}
}

// TestWebhookAssignsPods: pods get, whoever creates them, the hop's account and one token of ten minutes.
func TestWebhookAssignsPods(t *testing.T) {
	f := setup(t)
	_, h := f.chain()
	f.usable(h.Name)
	always := corev1.ContainerRestartPolicyAlways
	bare := f.pod("dhop-bare", h.Name, func(p *corev1.Pod) {
		p.Spec.TerminationGracePeriodSeconds = new(int64(600))
		p.Spec.AutomountServiceAccountToken = new(true)
		p.Spec.ServiceAccountName = "default"
		p.Spec.InitContainers = []corev1.Container{{Name: "side", Image: agent, RestartPolicy: &always}, {Name: "setup", Image: agent}}
	})
	f.apply(f.by, bare)
	f.wantAssigned(*bare, h)
	madeUp := f.pod("", h.Name, func(p *corev1.Pod) { p.GenerateName = "run-" })
	f.apply(f.by, madeUp)
	f.wantAssigned(*madeUp, h)

	// A pod may be given what it has, and nothing changes: a GitOps tool may write down what it reads back.
	again := f.pod("dhop-again", h.Name, func(p *corev1.Pod) { p.Spec = *bare.Spec.DeepCopy() })
	f.apply(f.by, again)
	if diff := cmp.Diff(bare.Spec, again.Spec); diff != "" {
		t.Errorf("a second admission changes: %s", diff)
	}

	// A template is never changed.
	j := f.job("run", h.Name, func(s *corev1.PodTemplateSpec) { s.Spec.TerminationGracePeriodSeconds = new(int64(600)) })
	f.apply(f.by, j)
	if s := j.Spec.Template.Spec; s.ServiceAccountName != "" || s.AutomountServiceAccountToken != nil ||
		*s.TerminationGracePeriodSeconds != 600 || len(s.Volumes) > 0 {
		t.Errorf("the template was changed: %+v", s)
	}
	f.wantAssigned(f.madeBy("run"), h)
	f.recorded("Job "+f.ns+"/run", "Allow", v1alpha1.ReasonGranted)
	made := f.admitted(func(r audit.Record) bool { return r.Actor == "system:serviceaccount:kube-system:job-controller" })
	if len(made) == 0 || made[0].Decision != "Allow" || made[0].Hop != f.ns+"/isolate" ||
		made[0].Path != f.ns+"/contain" || made[0].PathUID == "" {
		t.Errorf("the audit lines of the Job controller are %+v", made)
	}

	c := f.cronJob("nightly", h.Name)
	f.apply(f.by, c)
	c.Status.LastScheduleTime = &metav1.Time{Time: time.Now().Add(-2 * time.Minute)} // a run is overdue
	if err := suite.admin.Status().Update(f.Context(), c); err != nil {
		t.Fatal(err)
	}
	f.eventually("a run of the CronJob", func() error {
		var pods corev1.PodList
		if err := suite.admin.List(f.Context(), &pods, client.InNamespace(f.ns)); err != nil {
			return err
		}
		for _, p := range pods.Items {
			if strings.HasPrefix(p.Name, "dhop-nightly-") {
				f.wantAssigned(p, h)
				return nil
			}
		}
		return fmt.Errorf("there is none")
	})
}

// TestWebhookReportsWhy: each state of a chain that denies a pod and a Job, in words, and the same in the audit line.
func TestWebhookReportsWhy(t *testing.T) {
	f := setup(t)
	p, h := f.chain()
	grandchild := f.hop("report", "contain", "isolate", runs)
	f.apply(f.by, grandchild)
	f.valid(grandchild)
	f.usable("isolate")
	f.usable("report")
	f.wantAllowed(f.creates(f.by, f.job("run", "report")))

	f.wantDenied(
		f.creates(f.by, f.pod("dhop-run", "unheard-of")),
		`hop "unheard-of" may not be used: HopNotFound: there is no such hop in this namespace`,
	)
	f.recorded("Pod "+f.ns+"/dhop-run", "Deny", v1alpha1.ReasonHopNotFound)

	f.wantAllowed(f.patch(f.by, p, `{"spec":{"suspend":true}}`))
	suspended := fmt.Sprintf(`hop "report" of path "%s/contain" may not be used: Suspended`, f.ns)
	f.deniedSoon(f.pod("dhop-run", "report"), suspended)
	c, warnings := f.warned(f.by)
	f.wantAllowed(c.Create(f.Context(), f.job("run", "report"), client.DryRunAll))
	if !strings.Contains(warnings.all(), suspended) || !strings.Contains(warnings.all(), "its pods are denied until then") {
		t.Errorf("the warnings are %q", warnings.all())
	}
	f.wantAllowed(f.patch(f.by, p, `{"spec":{"suspend":false}}`))
	f.usable("report")

	// The grandparent is revoked, and the grandchild's denial says by whom, when, why and where.
	f.valid(h)
	f.wantAllowed(f.patch(f.by, h, `{"spec":{"revoked":{"reason":"false alarm"}}}`))
	f.deniedSoon(f.pod("dhop-run", "report"), "Revoked by "+f.by)
	want := regexp.MustCompile(
		fmt.Sprintf(
			`hop "report" of path "%s/contain" may not be used: Revoked by %s \d+s ago \("false alarm"\) \[hop %s/isolate\]`,
			f.ns, regexp.QuoteMeta(f.by), f.ns,
		),
	)
	for kind, o := range map[string]client.Object{
		"Pod": f.pod("dhop-run", "report"), "Job": f.job("run", "report"), "CronJob": f.cronJob("run", "report"),
	} {
		if err := f.creates(f.by, o); err == nil || !want.MatchString(err.Error()) || !apierrors.IsForbidden(err) {
			t.Errorf("a %s was answered: %v", kind, orAllowed(err))
		}
		r := f.recorded(kind+" "+f.ns+"/"+o.GetName(), "Deny", v1alpha1.ReasonRevoked)
		if !want.MatchString(r.Message) || !r.DryRun || r.Actor != f.by || len(r.Chain) != 2 || r.PathUID != string(p.UID) {
			t.Errorf("the audit line is %+v", r)
		}
	}
	own := regexp.MustCompile(
		fmt.Sprintf(
			`hop "isolate" of path "%s/contain" may not be used: Revoked by %s \d+s ago \("false alarm"\)$`, f.ns,
			regexp.QuoteMeta(f.by),
		),
	)
	if err := f.creates(f.by, f.pod("dhop-run", "isolate")); err == nil || !own.MatchString(err.Error()) {
		t.Errorf("answered: %v", orAllowed(err))
	}
}

// deniedSoon waits until the webhook has also observed why a pod must be denied.
func (f *fixture) deniedSoon(o client.Object, text string) {
	f.Helper()
	f.eventually("a denial with "+text, func() error {
		if err := f.creates(f.by, o.DeepCopyObject().(client.Object)); err == nil || !strings.Contains(err.Error(), text) {
			return fmt.Errorf("answered: %w", orAllowed(err))
		}
		return nil
	})
}

// TestWebhookDeniesTheExpired: an expired hop is denied, also to templates, since it is final.
func TestWebhookDeniesTheExpired(t *testing.T) {
	f := setup(t)
	_, h := f.chain(func(h *v1alpha1.DelegationHop) {
		h.Spec.Lifetime = &v1alpha1.Lifetime{Duration: &metav1.Duration{Duration: 3 * time.Second}}
	})
	f.deniedSoon(f.pod("dhop-run", h.Name), "Expired")
	f.wantDenied(f.creates(f.by, f.job("run", h.Name)), `may not be used: Expired`, "ago: the lifetime has ended")
	f.recorded("Job "+f.ns+"/run", "Deny", v1alpha1.ReasonExpired)
}

// TestWebhookDeniesABrokenChain: a hop whose grandparent was deleted may not be used, and does not come back with a
// grandparent of the same name.
func TestWebhookDeniesABrokenChain(t *testing.T) {
	f := setup(t)
	_, h := f.chain()
	middle, last := f.hop("triage", "contain", "isolate", runs), f.hop("report", "contain", "triage", runs)
	f.apply(f.by, middle, last)
	f.valid(last)
	f.usable("report")
	if err := f.as(f.by).Delete(f.Context(), h); err != nil {
		t.Fatal(err)
	}
	broken := fmt.Sprintf("ChainBroken: spec.parentRef: parent hop %s/isolate was deleted", f.ns)
	f.deniedSoon(f.pod("dhop-run", "report"), broken)
	f.wantDenied(f.as(f.by).Create(f.Context(), f.job("run", "report")), broken, fmt.Sprintf("[hop %s/triage]", f.ns))
	recreated := f.hop("isolate", "contain", "", runs)
	f.apply(f.by, recreated)
	f.valid(recreated)
	f.usable("isolate")
	f.wantDenied(f.creates(f.by, f.pod("dhop-run", "report")), "ChainBroken", "was recreated")
}

// TestWebhookHoldsTheHopsBounds: kinds, images, requires, accounts and use, each beside what is within them.
func TestWebhookHoldsTheHopsBounds(t *testing.T) {
	f := setupOn(t, false)
	_, h := f.chain(func(h *v1alpha1.DelegationHop) { h.Spec.Workload.Kinds = []v1alpha1.WorkloadKind{v1alpha1.WorkloadJob} })
	onlyPods := f.hop(
		"pods", "contain", "", runs,
		func(h *v1alpha1.DelegationHop) { h.Spec.Workload.Kinds = []v1alpha1.WorkloadKind{v1alpha1.WorkloadPod} },
	)
	f.apply(f.by, onlyPods)
	f.valid(onlyPods)
	f.usable("pods")
	requires := func(text string) func(*corev1.PodTemplateSpec) {
		return func(s *corev1.PodTemplateSpec) { s.Annotations = map[string]string{v1alpha1.AnnotationRequires: text} }
	}
	image := func(image string) func(*corev1.PodTemplateSpec) {
		return func(s *corev1.PodTemplateSpec) { s.Spec.Containers[0].Image = image }
	}
	account := func(name string) func(*corev1.PodTemplateSpec) {
		return func(s *corev1.PodTemplateSpec) { s.Spec.ServiceAccountName = name }
	}
	unlabelled := func(s *corev1.PodTemplateSpec) { s.Labels = nil }
	bob := f.named("bob")
	f.bind(f.ns, bob, rule("batch", "jobs", "create"), rule("", "pods", "create"))
	user := f.named("user")
	f.bind(f.ns, user, rule("batch", "jobs", "create"), rule(v1alpha1.GroupName, "delegationhops", v1alpha1.VerbUse, "isolate"))
	f.make(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: "robot"}})

	for name, test := range map[string]struct {
		user string
		o    client.Object
		want []string // the denial
		warn []string // the warning, where a dry run only warns
	}{
		"a Job": {o: f.job("run", "isolate")},
		"a pod where only Jobs run": {
			o: f.pod("dhop-run", "isolate"), want: []string{"WorkloadNotAllowed: the hop allows workload of kind Job only"},
		},
		"a pod": {o: f.pod("dhop-run", "pods")},
		"a Job where only pods run": {
			o: f.job("run", "pods"), warn: []string{"WorkloadNotAllowed: the hop allows workload of kind Pod only"},
		},
		"a CronJob where only Jobs run":  {o: f.cronJob("run", "isolate"), warn: []string{"kind Job only"}},
		"a tag of the listed repository": {o: f.job("run", "isolate", image("registry.example.com/agent:2"))},
		"another repository": {
			o: f.job("run", "isolate", image("registry.example.com/agent/shell:2")), warn: []string{"ImageNotAllowed"},
		},
		"what the scope has": {
			o: f.job("run", "isolate", requires(`[{apiGroups: [""], resources: [configmaps], verbs: [get]}]`)),
		},
		"what the scope has not": {
			o:    f.job("run", "isolate", requires(`[{apiGroups: [""], resources: [pods], verbs: [delete]}]`)),
			warn: []string{"WorkloadNotAllowed", "the workload needs what the hop may not do: delete pods"},
		},
		"what cannot be read": {
			o:    f.job("run", "isolate", requires("pods")),
			want: []string{"WorkloadNotAllowed", "it is not a YAML list of PolicyRules"},
		},
		"the account called default": {o: f.job("run", "isolate", account("default"))},
		"an account of one's own": {
			o: f.job("run", "isolate", account("robot")), want: []string{"WrongServiceAccount", `the template names "robot"`},
		},
		"the hop's account in a template": {
			o: f.job("run", "isolate", account(h.Status.ServiceAccountName)), want: []string{"WrongServiceAccount"},
		},
		"the hop's account without the label": {
			o: f.job("run", "isolate", unlabelled, account(h.Status.ServiceAccountName)), want: []string{"belongs to a hop"},
		},
		"a pod that takes the account": {o: f.pod("dhop-run", "pods", func(p *corev1.Pod) {
			p.Labels, p.Spec.ServiceAccountName = nil, onlyPods.Status.ServiceAccountName
		}), want: []string{"belongs to a hop"}},
		"a pod that takes the account by the old field": {o: f.pod("dhop-run", "pods", func(p *corev1.Pod) {
			p.Labels, p.Spec.DeprecatedServiceAccount = nil, onlyPods.Status.ServiceAccountName
		}), want: []string{"belongs to a hop"}},
		"a pod that takes the account of another hop": {o: f.pod("dhop-run", "pods", func(p *corev1.Pod) {
			p.Spec.ServiceAccountName = h.Status.ServiceAccountName
		}),
			want: []string{"WrongServiceAccount", "which is not the hop's"}},
		"a pod that names its own account": {
			o: f.pod("dhop-run", "pods", func(p *corev1.Pod) { p.Spec.ServiceAccountName = onlyPods.Status.ServiceAccountName }),
		},
		"a pod that claims to be a Job's": {o: f.pod("dhop-run", "isolate", func(p *corev1.Pod) {
			p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: "run", UID: "1", Controller: new(true)}}
		}), want: []string{"kind Job only"}},
		"a Job of one without use": {
			user: bob, o: f.job("run", "isolate"), want: []string{"NotPermittedToUse", "you do not hold the verb use"},
		},
		"a Job of one with use of it":              {user: user, o: f.job("run", "isolate")},
		"a Job of one with use of one":             {user: user, o: f.job("run", "pods"), want: []string{"NotPermittedToUse"}},
		"a Job before its hop, of one without use": {user: bob, o: f.job("run", "later"), want: []string{"NotPermittedToUse"}},
		"the same of one with use":                 {o: f.job("run", "later")},
	} {
		t.Run(name, func(t *testing.T) {
			f := *f
			f.T = t
			by := test.user
			if by == "" {
				by = f.by
			}
			c, warnings := f.warned(by)
			err := c.Create(f.Context(), test.o, client.DryRunAll)
			if test.want != nil {
				f.wantDenied(err, test.want...)
				return
			}
			f.wantAllowed(err)
			for _, text := range test.warn {
				if !strings.Contains(warnings.all(), text) {
					t.Errorf("the warnings are %q, without %q", warnings.all(), text)
				}
			}
		})
	}
}

// TestWebhookHoldsPodSecurity: what runs under a hop meets the level that the hop names, at admission and again at the gate, and no
// hop names a weaker level than its parent.
func TestWebhookHoldsPodSecurity(t *testing.T) {
	f := setup(t)
	level := func(level v1alpha1.PodSecurityLevel) func(*v1alpha1.DelegationHop) {
		return func(h *v1alpha1.DelegationHop) { h.Spec.Workload.PodSecurity = level }
	}
	_, h := f.chain()
	open := f.hop("open", "contain", "", runs, level("privileged"))
	strict := f.hop("strict", "contain", "isolate", runs, level("restricted"))
	f.apply(f.by, open, strict)
	f.valid(open)
	f.valid(strict)
	f.usable("isolate")
	f.usable("open")

	onTheNode := func(s *corev1.PodTemplateSpec) { s.Spec.HostNetwork = true }
	const words = `PodSecurityViolated: the hop allows pods of Pod Security "baseline": host namespaces (hostNetwork=true): change the pod`
	create := func(o client.Object) error { return f.as(f.by).Create(f.Context(), o) }
	f.wantDenied(create(f.job("shares", "isolate", onTheNode)), words)
	f.recorded("Job "+f.ns+"/shares", "Deny", v1alpha1.ReasonPodSecurityViolated)
	f.wantDenied(create(f.pod("dhop-shares", "isolate", func(p *corev1.Pod) { p.Spec.HostNetwork = true })), words)
	twin := f.job("twin", "isolate")
	f.apply(f.by, twin)
	f.wantAssigned(f.madeBy("twin"), h)
	f.opened(twin, 1)
	f.wantDenied(create(f.job("plain", "strict")), `the hop allows pods of Pod Security "restricted": allowPrivilegeEscalation != false`)
	c, warnings := f.warned(f.by)
	f.wantAllowed(c.Create(f.Context(), f.hop("weak", "contain", "strict", runs), client.DryRunAll))
	weaker := `PodSecurityViolated: spec.workload.podSecurity: "baseline" is weaker than "restricted" of hop ` + f.ns + "/strict"
	if !strings.Contains(warnings.all(), weaker) {
		t.Errorf("the warnings are %q", warnings.all())
	}

	// What was admitted, and waits for a queue, is judged by what the hop says when it leaves the queue.
	waits := f.work("waits", "open", queued, func(j *batchv1.Job) { onTheNode(&j.Spec.Template) })
	f.apply(f.by, waits)
	pod := f.madeBy("waits")
	f.wantAllowed(f.patch(f.by, open, `{"spec":{"workload":{"podSecurity":"baseline"}}}`))
	f.wantAllowed(f.merge(f.as(f.by), &pod, false, onlyOurGate))
	f.refused(waits, v1alpha1.ReasonPodSecurityViolated)
}

// TestWebhookKnowsAllTemplates: the label in a kind that cannot run under a hop is denied with a message, and objects
// without the label are ignored.
func TestWebhookKnowsAllTemplates(t *testing.T) {
	f := setup(t)
	for _, r := range []struct{ group, resources string }{
		{"apps", "deployments,statefulsets,daemonsets,replicasets"}, {"", "replicationcontrollers,podtemplates"},
	} {
		f.bind(f.ns, f.by, rule(r.group, r.resources, "create"))
	}
	for _, label := range []string{"", "isolate"} {
		template := f.job("", label).Spec.Template
		template.Labels["app"] = "agent"
		if label == "" {
			delete(template.Labels, v1alpha1.LabelHop)
		}
		template.Spec.RestartPolicy = corev1.RestartPolicyAlways
		selector := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "agent"}}
		for kind, o := range map[string]client.Object{
			"Deployment":  &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Selector: selector, Template: template}},
			"StatefulSet": &appsv1.StatefulSet{Spec: appsv1.StatefulSetSpec{Selector: selector, Template: template}},
			"DaemonSet":   &appsv1.DaemonSet{Spec: appsv1.DaemonSetSpec{Selector: selector, Template: template}},
			"ReplicaSet":  &appsv1.ReplicaSet{Spec: appsv1.ReplicaSetSpec{Selector: selector, Template: template}},
			"ReplicationController": &corev1.ReplicationController{
				Spec: corev1.ReplicationControllerSpec{Selector: selector.MatchLabels, Template: &template},
			},
			"PodTemplate": &corev1.PodTemplate{Template: template},
		} {
			o.SetNamespace(f.ns)
			o.SetName("agent")
			err := f.creates(f.by, o)
			if label == "" {
				f.wantAllowed(err)
				continue
			}
			f.wantDenied(err, fmt.Sprintf("a %s cannot run under a hop: the label %s is for Pods, Jobs and CronJobs", kind, v1alpha1.LabelHop))
			f.recorded(kind+" "+f.ns+"/agent", "Deny", v1alpha1.ReasonWorkloadNotAllowed)
		}
	}
}

// TestWebhookWaitsForGitOps: path, hop and Job go in one apply, in any order, and the Job's pods come when the hop is
// granted.
func TestWebhookWaitsForGitOps(t *testing.T) {
	for name, order := range map[string][]int{
		"path, hop, Job": {0, 1, 2}, "Job, hop, path": {2, 1, 0}, "hop, Job, path": {1, 2, 0}, "Job, path, hop": {2, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			h := f.hop("isolate", "contain", "", runs)
			objects := []client.Object{f.path("contain"), h, f.job("run", "isolate")}
			c, warnings := f.warned(f.by)
			for _, i := range order {
				if err := c.Create(f.Context(), objects[i]); err != nil {
					t.Fatalf("creating %T: %v", objects[i], err)
				}
			}
			if !strings.Contains(warnings.all(), "its pods are denied until then") {
				t.Errorf("the warnings are %q", warnings.all())
			}
			f.valid(h)
			f.wantAssigned(f.madeBy("run"), h)
		})
	}
}

// TestWebhookKeepsPodsAsTheyWere: a pod that runs under a hop may change, except in what was validated.
func TestWebhookKeepsPodsAsTheyWere(t *testing.T) {
	f := setupOn(t, false)
	_, h := f.chain()
	f.usable(h.Name)
	p, plain := f.pod("dhop-run", h.Name), f.pod("plain", h.Name, func(p *corev1.Pod) { p.Labels = nil })
	f.apply(f.by, p, plain)
	hop := `"` + v1alpha1.LabelHop + `"`
	for name, test := range map[string]struct {
		pod         *corev1.Pod
		patch, want string
	}{
		"the label is removed": {p, `{"metadata":{"labels":{` + hop + `:null}}}`, "of a pod cannot be changed"},
		"the label changes":    {p, `{"metadata":{"labels":{` + hop + `:"other"}}}`, "of a pod cannot be changed"},
		"the label comes":      {plain, `{"metadata":{"labels":{` + hop + `:"isolate"}}}`, "of a pod cannot be changed"},
		"what it needs":        {p, `{"metadata":{"annotations":{"` + v1alpha1.AnnotationRequires + `":"[]"}}}`, "stays as it was admitted"},
		"a label of its own":   {p, `{"metadata":{"labels":{"team":"sre"}}}`, ""},
		"an annotation":        {p, `{"metadata":{"annotations":{"a":"b"}}}`, ""},
		"a finalizer":          {p, `{"metadata":{"finalizers":["example.com/hold"]}}`, ""},
		"no finalizer":         {p, `{"metadata":{"finalizers":null}}`, ""},
		"the plain pod's":      {plain, `{"metadata":{"labels":{"team":"sre"}}}`, ""},
		"an earlier deadline":  {p, `{"spec":{"activeDeadlineSeconds":60}}`, ""},
	} {
		err := f.patch(f.by, test.pod.DeepCopy(), test.patch)
		if test.want == "" {
			if err != nil {
				t.Errorf("%s: denied: %v", name, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: answered: %v", name, orAllowed(err))
		}
	}
	for pod, want := range map[*corev1.Pod]string{p: "stays as it was admitted", plain: ""} {
		patch := client.RawPatch(
			types.StrategicMergePatchType,
			[]byte(`{"spec":{"containers":[{"name":"agent","image":"registry.example.com/agent:2"}]}}`),
		)
		f.wantAnswer(f.as(f.by).Patch(f.Context(), pod.DeepCopy(), patch), want)
		f.bind(f.ns, f.by, rule("", "pods/ephemeralcontainers", "update,patch"))
		debug := pod.DeepCopy()
		debug.Spec.EphemeralContainers = []corev1.EphemeralContainer{
			{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: agent}},
		}
		debug.ResourceVersion = ""
		f.wantAnswer(f.as(f.by).SubResource("ephemeralcontainers").Patch(f.Context(), debug, client.StrategicMergeFrom(pod.DeepCopy())), want)
	}
	f.recorded("Pod "+f.ns+"/dhop-run", "Deny", v1alpha1.ReasonWorkloadNotAllowed)

	// Status belongs to the kubelet, and any user with delete may end the pod.
	status := p.DeepCopy()
	succeeded := client.RawPatch(types.MergePatchType, []byte(`{"status":{"phase":"Succeeded"}}`))
	if err := suite.admin.Status().Patch(f.Context(), status, succeeded); err != nil {
		t.Error(err)
	}
	f.wantAllowed(f.as(f.by).Delete(f.Context(), p, client.GracePeriodSeconds(0)))
}

func (f *fixture) wantAnswer(err error, want string) {
	f.Helper()
	if want == "" {
		f.wantAllowed(err)
		return
	}
	f.wantDenied(err, want)
}

// TestWebhookLetsControllersWork: a finished Job loses its finalizers, and a Job may be suspended and resumed by who
// holds no use, since its template stays.
func TestWebhookLetsControllersWork(t *testing.T) {
	f := setup(t)
	_, h := f.chain()
	f.usable(h.Name)
	f.apply(f.by, f.job("run", h.Name))
	made := f.madeBy("run")
	succeeded := client.RawPatch(types.MergePatchType, []byte(`{"status":{"phase":"Succeeded"}}`))
	if err := suite.admin.Status().Patch(f.Context(), made.DeepCopy(), succeeded); err != nil {
		t.Fatal(err)
	}
	f.eventually("the Job to be complete, and its pod to be let go", func() error {
		j := &batchv1.Job{}
		if err := suite.admin.Get(f.Context(), client.ObjectKey{Namespace: f.ns, Name: "run"}, j); err != nil {
			return err
		}
		pods := f.podsOf("run")
		if j.Status.Succeeded != 1 || len(pods) != 1 || len(pods[0].Finalizers) > 0 {
			return fmt.Errorf("%+v, %d pods", j.Status, len(pods))
		}
		return nil
	})
	bob := f.named("bob")
	f.bind(f.ns, bob, rule("batch", "jobs,cronjobs", "get,patch"))
	c := f.cronJob("nightly", h.Name)
	c.Spec.Suspend = new(true)
	f.apply(f.by, c)
	f.wantAllowed(f.patch(bob, c, `{"spec":{"schedule":"0 4 * * *"}}`))
	f.wantAllowed(f.patch(bob, c, `{"spec":{"jobTemplate":{"spec":{"template":{"metadata":{"annotations":{"a":"b"}}}}}}}`))
	template := `{"spec":{"jobTemplate":{"spec":{"template":{"spec":{"hostname":%q}}}}}}`
	f.wantDenied(f.patch(bob, c, fmt.Sprintf(template, "bob")), "NotPermittedToUse")
	f.wantAllowed(f.patch(f.by, c, fmt.Sprintf(template, "alice")))
	f.wantAllowed(
		f.patch(bob, c, fmt.Sprintf(`{"spec":{"jobTemplate":{"spec":{"template":{"metadata":{"labels":{%q:null}}}}}}}`, v1alpha1.LabelHop)),
	)
	f.wantDenied(
		f.patch(bob, c, fmt.Sprintf(`{"spec":{"jobTemplate":{"spec":{"template":{"metadata":{"labels":{%q:"isolate"}}}}}}}`, v1alpha1.LabelHop)),
		"NotPermittedToUse",
	)
}

// TestWebhookValidatesDryRuns: a dry run of a pod is answered as the real request is, and that of a Job warns of what
// another object of the same commit may mend.
func TestWebhookValidatesDryRuns(t *testing.T) {
	f := setup(t)
	_, h := f.chain()
	f.usable(h.Name)
	evil := func(name string) *batchv1.Job {
		return f.job(name, h.Name, func(s *corev1.PodTemplateSpec) { s.Spec.Containers[0].Image = "evil" })
	}
	dry, wet := f.creates(f.by, evil("run")), f.as(f.by).Create(f.Context(), evil("run"))
	if dry != nil || wet == nil || !strings.Contains(wet.Error(), "ImageNotAllowed") {
		t.Errorf("a dry run was answered %v, a real one %v", orAllowed(dry), orAllowed(wet))
	}
	records := f.admitted(func(r audit.Record) bool { return r.Reason == v1alpha1.ReasonImageNotAllowed })
	if len(records) != 2 || !records[0].DryRun || records[1].DryRun {
		t.Errorf("the audit lines are %+v", records)
	}
	pod := func() *corev1.Pod {
		return f.pod("dhop-run", h.Name, func(p *corev1.Pod) { p.Spec.Containers[0].Image = "evil" })
	}
	dry, wet = f.creates(f.by, pod()), f.as(f.by).Create(f.Context(), pod())
	if dry == nil || wet == nil || dry.Error() != wet.Error() {
		t.Errorf("a dry run was answered %v, a real one %v", orAllowed(dry), orAllowed(wet))
	}
	good := f.pod("dhop-run", h.Name)
	f.wantAllowed(f.creates(f.by, good))
	if good.Spec.ServiceAccountName != h.Status.ServiceAccountName {
		t.Errorf("the dry run's pod runs as %s", good.Spec.ServiceAccountName)
	}
}

// TestWebhookTakesNoneForAController: who is called like a controller is none, and who is one needs an owner.
func TestWebhookTakesNoneForAController(t *testing.T) {
	f := setup(t)
	_, h := f.chain()
	f.usable(h.Name)
	owned := func(p *corev1.Pod) {
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: "run", UID: "1", Controller: new(true)}}
	}
	for user, pod := range map[string]*corev1.Pod{
		"system:serviceaccount:" + f.ns + ":job-controller":    f.pod("dhop-run", h.Name, owned),
		"system:kube-controller-manager2":                      f.pod("dhop-run", h.Name, owned),
		"system:serviceaccount:kube-system:job-controller":     f.pod("dhop-run", h.Name),
		"system:serviceaccount:kube-system:cronjob-controller": f.pod("dhop-run", h.Name),
	} {
		f.bind(f.ns, user, rule("", "pods", "create"))
		f.eventually(user+" to be let make pods", func() error {
			err := f.creates(user, pod.DeepCopy())
			if err == nil || !strings.Contains(err.Error(), "may not be used") {
				return fmt.Errorf("answered: %w", orAllowed(err))
			}
			f.wantDenied(err, "NotPermittedToUse")
			return nil
		})
	}
}

// TestJobsMadeByHand: a Job that a user makes from a CronJob is a Job of that user, and the denial says so.
func TestJobsMadeByHand(t *testing.T) {
	f := setup(t)
	kinds := func(kinds ...v1alpha1.WorkloadKind) func(*v1alpha1.DelegationHop) {
		return func(h *v1alpha1.DelegationHop) { h.Spec.Workload.Kinds = kinds }
	}
	f.chain(kinds(v1alpha1.WorkloadCronJob, v1alpha1.WorkloadPod))
	both := f.hop("both", "contain", "", runs, kinds(v1alpha1.WorkloadCronJob, v1alpha1.WorkloadJob, v1alpha1.WorkloadPod))
	f.apply(f.by, both)
	f.valid(both)
	f.usable("isolate")
	f.usable("both")
	byHand := func(hop string) error { // as kubectl create job --from does
		c := f.cronJob("nightly-"+hop, hop)
		c.Spec.Suspend = new(true)
		f.apply(f.by, c)
		j := f.job("by-hand-"+hop, hop)
		j.Annotations = map[string]string{"cronjob.kubernetes.io/instantiate": "manual"}
		j.OwnerReferences = []metav1.OwnerReference{
			{APIVersion: "batch/v1", Kind: "CronJob", Name: c.Name, UID: c.UID, Controller: new(true)},
		}
		return f.as(f.by).Create(f.Context(), j)
	}
	f.wantDenied(byHand("isolate"), "the hop allows workload of kind CronJob, Pod only", "list kind Job in workload.kinds of the hop, too")
	f.wantAllowed(byHand("both"))
}
