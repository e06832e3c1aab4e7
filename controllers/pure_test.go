package controllers

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/facts"
	"github.com/wayleave/wayleave/internal/rbac"
)

var t0 = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) *metav1.Time { return new(metav1.NewTime(t0.Add(d))) }

func denied(reasons ...v1alpha1.Reason) delegation.Verdict {
	v := delegation.Verdict{Outcome: delegation.Deny}
	for _, reason := range reasons {
		v.Findings = append(v.Findings, delegation.Finding{Reason: reason, Message: "so it is"})
	}
	return v
}

func TestWake(t *testing.T) {
	for name, c := range map[string]struct {
		notAfter, tokenDue, took time.Duration // from the moment of the question; 0: none
		want                     time.Duration
	}{
		"nothing comes":                           {},
		"the end":                                 {notAfter: time.Minute, want: time.Minute + time.Millisecond},
		"a token before the end":                  {notAfter: time.Minute, tokenDue: 40 * time.Second, want: 40*time.Second + time.Millisecond},
		"the work does not add to the lifetime":   {notAfter: time.Minute, took: 3 * time.Second, want: 57*time.Second + time.Millisecond},
		"the end came while it worked":            {notAfter: time.Second, took: 3 * time.Second, want: time.Millisecond},
		"an end that is past brings no more wake": {notAfter: -time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			var v delegation.Verdict
			var due time.Time
			if c.notAfter != 0 {
				v.NotAfter = t0.Add(c.notAfter)
			}
			if c.tokenDue != 0 {
				due = t0.Add(c.tokenDue)
			}
			if got := wake(v, due, t0, t0.Add(c.took)); got != c.want {
				t.Errorf("it wakes after %s, want %s", got, c.want)
			}
		})
	}
}

func TestWakeAfter(t *testing.T) {
	allow := delegation.Verdict{Outcome: delegation.Allow, NotAfter: t0.Add(time.Hour)}
	for name, c := range map[string]struct {
		verdict delegation.Verdict
		refused v1alpha1.Reason
		want    time.Duration
	}{
		"a valid hop until its end":                     {verdict: allow, want: time.Hour + time.Millisecond},
		"an open question is asked again":               {verdict: delegation.Verdict{NotAfter: t0.Add(time.Hour)}, want: undeterminedWait},
		"an open question of a hop that is about to go": {verdict: delegation.Verdict{NotAfter: t0.Add(time.Second)}, want: time.Second + time.Millisecond},
		"a refusal that passes":                         {verdict: allow, refused: v1alpha1.ReasonNotYetValid, want: undeterminedWait},
		"a refusal that somebody has to mend":           {verdict: allow, refused: v1alpha1.ReasonSecretTaken, want: refusedWait},
		"a hop that has ended sleeps":                   {verdict: denied(v1alpha1.ReasonRevoked)},
	} {
		t.Run(name, func(t *testing.T) {
			r := &HopReconciler{base: base{Options: Options{Clock: testclock.NewFakePassiveClock(t0), MaxFactAge: 10 * time.Minute}}}
			s := &state{hop: &v1alpha1.DelegationHop{}, verdict: c.verdict, in: delegation.Input{Now: t0}}
			if c.refused != "" {
				s.refused = &delegation.Finding{Reason: c.refused}
			}
			if got := r.wakeAfter(s); got != c.want {
				t.Errorf("it wakes after %s, want %s", got, c.want)
			}
		})
	}
}

// A hop that waits longer than its duration for its first Allow was once called expired for good.
func TestKeepEnd(t *testing.T) {
	for name, c := range map[string]struct {
		recorded, since *metav1.Time
		notAfter        time.Duration
		want            *metav1.Time
	}{
		"it began":                                       {since: at(0), notAfter: time.Hour, want: at(time.Hour)},
		"it began, and its end is moved":                 {recorded: at(time.Minute), since: at(0), notAfter: time.Hour, want: at(time.Hour)},
		"an end that has passed stays":                   {recorded: at(-time.Minute), since: at(-time.Hour), notAfter: time.Hour, want: at(-time.Minute)},
		"what has not begun has no end":                  {notAfter: time.Minute},
		"what has not begun can have missed its time":    {notAfter: -time.Minute, want: at(-time.Minute)},
		"what has not begun is not moved by each look":   {recorded: nil, notAfter: time.Second},
		"nothing is known":                               {since: at(0)},
		"a record stays while nothing is known about it": {recorded: at(time.Minute), since: at(0), want: at(time.Minute)},
	} {
		t.Run(name, func(t *testing.T) {
			v := delegation.Verdict{Outcome: delegation.Deny}
			if c.notAfter != 0 {
				v.NotAfter = t0.Add(c.notAfter)
			}
			got := c.recorded
			keepEnd(&got, v, c.since, t0)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("recorded end (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSettle(t *testing.T) {
	conflict := apierrors.NewServerTimeout(schema.GroupResource{Resource: "roles"}, "patch", 1)
	network := errors.New("read tcp 127.0.0.1:40001->127.0.0.1:6443: connection reset by peer")
	standing := []metav1.Condition{
		{Type: v1alpha1.ConditionGranted, Status: metav1.ConditionTrue, Reason: string(v1alpha1.ReasonGranted)},
		{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: string(v1alpha1.ReasonUndetermined)},
	}
	for name, c := range map[string]struct {
		verdict     delegation.Verdict
		account     string
		before      []metav1.Condition
		refused     *delegation.Finding
		acted       error
		wantReady   string // status and reason
		wantGranted string
		wantMessage string // a part of Granted's
	}{
		"granted": {
			verdict: delegation.Verdict{Outcome: delegation.Allow}, account: "dhop-a", wantReady: "True Granted", wantGranted: "True Granted",
		},
		"not granted to the end": {
			verdict: delegation.Verdict{Outcome: delegation.Allow}, account: "dhop-a", acted: conflict,
			wantReady: "False NotYetValid", wantGranted: "Unknown NotYetValid", wantMessage: "the grant is not complete yet: The patch operation",
		},
		"the network fails: its error, which changes, is not told": {
			verdict: delegation.Verdict{Outcome: delegation.Allow}, account: "dhop-a", acted: network,
			wantReady: "False NotYetValid", wantGranted: "Unknown NotYetValid", wantMessage: "the grant is not complete yet: it is tried again",
		},
		"refused": {
			verdict: delegation.Verdict{Outcome: delegation.Allow}, refused: &delegation.Finding{Reason: v1alpha1.ReasonSecretTaken, Message: "somebody's"},
			wantReady: "False SecretTaken", wantGranted: "False SecretTaken", wantMessage: "somebody's",
		},
		"withdrawn": {
			verdict: denied(v1alpha1.ReasonRevoked), wantReady: "False Revoked", wantGranted: "False Revoked",
		},
		"not withdrawn to the end": {
			verdict: denied(v1alpha1.ReasonRevoked), account: "dhop-a", acted: conflict,
			wantReady: "False Revoked", wantGranted: "Unknown Revoked", wantMessage: "the withdrawal is not complete yet",
		},
		"undetermined for a while: what stands, stands": {
			verdict: delegation.Verdict{Findings: []delegation.Finding{{Reason: v1alpha1.ReasonUndetermined}}}, account: "dhop-a", before: standing,
			wantReady: "False Undetermined", wantGranted: "True Undetermined",
		},
		"undetermined from the beginning": {
			verdict:   delegation.Verdict{Findings: []delegation.Finding{{Reason: v1alpha1.ReasonUndetermined}}},
			wantReady: "False Undetermined", wantGranted: "False Undetermined",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &state{
				hop: &v1alpha1.DelegationHop{Status: v1alpha1.DelegationHopStatus{Conditions: c.before}}, in: delegation.Input{Now: t0},
				verdict: c.verdict, refused: c.refused,
				next: &v1alpha1.DelegationHopStatus{ServiceAccountName: c.account, Conditions: c.before},
			}
			s.settle(c.acted)
			ready, granted := meta.FindStatusCondition(s.next.Conditions, v1alpha1.ConditionReady), meta.FindStatusCondition(s.next.Conditions, v1alpha1.ConditionGranted)
			if got := string(ready.Status) + " " + ready.Reason; got != c.wantReady {
				t.Errorf("Ready is %s, want %s", got, c.wantReady)
			}
			if got := string(granted.Status) + " " + granted.Reason; got != c.wantGranted {
				t.Errorf("Granted is %s, want %s", got, c.wantGranted)
			}
			if !strings.Contains(granted.Message, c.wantMessage) {
				t.Errorf("Granted says %q, want %q in it", granted.Message, c.wantMessage)
			}
		})
	}
}

func TestSetSummary(t *testing.T) {
	for reason, want := range map[v1alpha1.Reason]string{
		v1alpha1.ReasonGranted:     "Ready=True Reconciling=False Stalled=False",
		v1alpha1.ReasonSuspended:   "Ready=False Reconciling=True Stalled=False",
		v1alpha1.ReasonRevoked:     "Ready=False Reconciling=False Stalled=True",
		v1alpha1.ReasonChainBroken: "Ready=False Reconciling=False Stalled=True",
		"AWordOfNobody":            "Ready=False Reconciling=False Stalled=True",
	} {
		var conditions []metav1.Condition
		setSummary(&conditions, 3, *at(0), reason, "because")
		var got []string
		for _, c := range conditions {
			got = append(got, c.Type+"="+string(c.Status))
			if c.ObservedGeneration != 3 || c.Reason != string(reason) || c.Message != "because" || !c.LastTransitionTime.Equal(at(0)) {
				t.Errorf("%s: %+v", reason, c)
			}
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("%s: %s, want %s", reason, got, want)
		}
		setSummary(&conditions, 4, *at(time.Hour), reason, "because")
		for _, c := range conditions {
			if !c.LastTransitionTime.Equal(at(0)) {
				t.Errorf("%s: %s says that it changed and did not", reason, c.Type)
			}
		}
	}
}

func TestTooOld(t *testing.T) {
	valid := func(status metav1.ConditionStatus, since time.Duration) []metav1.Condition {
		return []metav1.Condition{{Type: v1alpha1.ConditionValid, Status: status, LastTransitionTime: *at(since)}}
	}
	for name, c := range map[string]struct {
		conditions []metav1.Condition
		want       bool
	}{
		"never judged":                   {},
		"open for a moment":              {conditions: valid(metav1.ConditionUnknown, -time.Minute)},
		"open for too long":              {conditions: valid(metav1.ConditionUnknown, -10*time.Minute), want: true},
		"valid for long, and open since": {conditions: valid(metav1.ConditionTrue, -time.Hour)},
	} {
		r := &HopReconciler{base: base{Options: Options{MaxFactAge: 10 * time.Minute}}}
		s := &state{hop: &v1alpha1.DelegationHop{Status: v1alpha1.DelegationHopStatus{Conditions: c.conditions}}, in: delegation.Input{Now: t0}}
		if got := r.tooOld(s); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// A parent above its ceiling once took the bindings of its valid child away at each look.
func TestBearsOnDescendants(t *testing.T) {
	for name, c := range map[string]struct {
		verdict delegation.Verdict
		want    bool
	}{
		"revoked":                      {verdict: denied(v1alpha1.ReasonRevoked), want: true},
		"above its ceiling":            {verdict: denied(v1alpha1.ReasonScopeExceedsCeiling)},
		"above its ceiling, suspended": {verdict: denied(v1alpha1.ReasonScopeExceedsCeiling, v1alpha1.ReasonSuspended), want: true},
		"refused a Secret":             {verdict: delegation.Verdict{Outcome: delegation.Allow}},
		"undetermined for too long":    {verdict: delegation.Verdict{Findings: []delegation.Finding{{Reason: v1alpha1.ReasonUndetermined}}}},
	} {
		if got := (&state{verdict: c.verdict}).bearsOnDescendants(); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func labels(of map[string]string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "agents", Name: "x", Labels: of}
}

func TestHopOf(t *testing.T) {
	all := map[string]string{v1alpha1.LabelHopName: "isolate", v1alpha1.LabelHopNamespace: "other", v1alpha1.LabelHopUID: "1"}
	declares := map[string]string{v1alpha1.LabelHop: "isolate", v1alpha1.LabelHopNamespace: "other", v1alpha1.LabelHopUID: "1"}
	for name, c := range map[string]struct {
		name     string
		labels   map[string]string
		made     string // the hop that it was made for
		declared string // the hop that it declares, as a pod
	}{
		"nothing":                   {},
		"of a hop":                  {name: "dhop-isolate.86bb3358e0.1782910800", labels: all, made: "other/isolate"},
		"a stranger's that says so": {name: "x", labels: all},
		"of a hop of another name":  {name: "dhop-isolate-all.86bb3358e0.1782910800", labels: all},
		"what only declares a hop was not made for it": {name: "dhop-isolate.86bb3358e0.1782910800", labels: declares, declared: "agents/isolate"},
		"a pod's own label on somebody's Role":         {labels: map[string]string{v1alpha1.LabelHop: "isolate"}, declared: "agents/isolate"},
		"a pod that says it is elsewhere":              {labels: map[string]string{v1alpha1.LabelHop: "isolate", v1alpha1.LabelHopNamespace: "other"}, declared: "agents/isolate"},
	} {
		t.Run(name, func(t *testing.T) {
			o := &rbacv1.Role{ObjectMeta: labels(c.labels)}
			o.Name = c.name
			for want, of := range map[string]func(client.Object) (types.NamespacedName, bool){c.made + " ": hopOf, c.declared: declaredHop} {
				want = strings.TrimSpace(want)
				if key, ok := of(o); ok != (want != "") || ok && key.String() != want {
					t.Errorf("it is of %s (%t), want %q", key, ok, want)
				}
			}
		})
	}
}

// An account of a hop stands in the hop's namespace. One elsewhere is somebody's who wants to be taken for it.
func TestAccountElsewhere(t *testing.T) {
	for namespace, want := range map[string]bool{"agents": true, "evil": false} {
		o := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "dhop-isolate.86bb3358e0.1782910800", Labels: map[string]string{
			v1alpha1.LabelHopName: "isolate", v1alpha1.LabelHopNamespace: "agents", v1alpha1.LabelHopUID: "1",
		}}}
		if _, ok := hopOf(o); ok != want {
			t.Errorf("in %s: %t", namespace, ok)
		}
	}
}

func TestEitherSide(t *testing.T) {
	ceiling := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "ceiling", Labels: map[string]string{v1alpha1.LabelCeiling: "true"}}}
	r := reconciler(t, interceptor.Funcs{}, ceiling, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "view"}})
	r.Gather = &facts.Gatherer{Controller: rbac.ServiceAccountUser("wayleave-system", "wayleave-controller")}
	to := rbacv1.RoleRef{Kind: "ClusterRole", Name: "ceiling"}
	binding := func(subjects ...rbacv1.Subject) *rbacv1.RoleBinding {
		return &rbacv1.RoleBinding{ObjectMeta: labels(nil), RoleRef: to, Subjects: subjects}
	}
	toView := func(b *rbacv1.RoleBinding) *rbacv1.RoleBinding {
		b.RoleRef.Name = "view"
		return b
	}
	controller := rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: "wayleave-system", Name: "wayleave-controller"}
	group := rbacv1.Subject{Kind: rbacv1.GroupKind, Name: "system:serviceaccounts:wayleave-system"}
	for name, c := range map[string]struct {
		before, after client.Object
		want          bool
	}{
		"a role of no concern":                {before: &rbacv1.ClusterRole{}, after: &rbacv1.ClusterRole{}},
		"a role becomes a ceiling":            {before: &rbacv1.ClusterRole{}, after: ceiling, want: true},
		"a role stops being a ceiling":        {before: ceiling, after: &rbacv1.ClusterRole{}, want: true},
		"a binding loses the controller":      {before: binding(controller), after: binding(), want: true},
		"a binding gains a group of it":       {before: binding(), after: binding(group), want: true},
		"a binding of somebody else's":        {before: binding(), after: binding(rbacv1.Subject{Kind: rbacv1.UserKind, Name: "alice"})},
		"a cluster binding of the controller": {before: &rbacv1.ClusterRoleBinding{}, after: &rbacv1.ClusterRoleBinding{RoleRef: to, Subjects: []rbacv1.Subject{controller}}, want: true},
		"a binding of everybody to view":      {before: toView(binding()), after: toView(binding(group))},
	} {
		if got := eitherSide(r.bearsOnCeiling).Update(event.UpdateEvent{ObjectOld: c.before, ObjectNew: c.after}); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestUpstreamChanges(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*v1alpha1.DelegationPath)
		want   bool
	}{
		"nothing":             {change: func(*v1alpha1.DelegationPath) {}},
		"a count of hops":     {change: func(p *v1alpha1.DelegationPath) { p.Status.Hops = &v1alpha1.HopCounts{Total: new(int32(3))} }},
		"a condition":         {change: func(p *v1alpha1.DelegationPath) { p.Status.Conditions = []metav1.Condition{{Type: "Ready"}} }},
		"the spec":            {change: func(p *v1alpha1.DelegationPath) { p.Generation++ }, want: true},
		"it becomes active":   {change: func(p *v1alpha1.DelegationPath) { p.Status.ActiveSince = at(0) }, want: true},
		"its end is recorded": {change: func(p *v1alpha1.DelegationPath) { p.Status.ExpiresAt = at(0) }, want: true},
		"it is being deleted": {change: func(p *v1alpha1.DelegationPath) { p.DeletionTimestamp = at(0) }, want: true},
		"it was made anew":    {change: func(p *v1alpha1.DelegationPath) { p.UID = "2" }, want: true},
	} {
		before := &v1alpha1.DelegationPath{ObjectMeta: metav1.ObjectMeta{UID: "1", Generation: 1}}
		after := before.DeepCopy()
		c.change(after)
		if got := upstreamChanges.Update(event.UpdateEvent{ObjectOld: before, ObjectNew: after}); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestPodChanges(t *testing.T) {
	pod := func(hop string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: labels(map[string]string{v1alpha1.LabelHop: hop})}
	}
	if !podChanges.Create(event.CreateEvent{Object: pod("a")}) {
		t.Error("a new pod is not looked at")
	}
	if podChanges.Update(event.UpdateEvent{ObjectOld: pod("a"), ObjectNew: pod("a")}) {
		t.Error("each step of a pod's life wakes its hop")
	}
	if !podChanges.Update(event.UpdateEvent{ObjectOld: pod("a"), ObjectNew: pod("b")}) {
		t.Error("a pod that declares another hop is not looked at")
	}
}

func TestCredentialID(t *testing.T) {
	token := func(claims string) string {
		return "head." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".signature"
	}
	for name, c := range map[string]struct {
		token, want string
		fails       bool
	}{
		"a token":          {token: token(`{"jti":"4711","sub":"x"}`), want: "4711"},
		"without an id":    {token: token(`{"sub":"x"}`), fails: true},
		"no JWT":           {token: "opaque", fails: true},
		"no base64":        {token: "a.%%.c", fails: true},
		"no JSON":          {token: token(`nothing`), fails: true},
		"an id that is no": {token: token(`{"jti":{}}`), fails: true},
	} {
		got, err := credentialID(c.token)
		if got != c.want || (err != nil) != c.fails {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if err != nil && strings.Contains(err.Error(), c.token) {
			t.Errorf("%s: the error holds the token: %v", name, err)
		}
	}
}

func TestOutgrown(t *testing.T) {
	hop := func(token v1alpha1.Token) *v1alpha1.DelegationHop {
		return &v1alpha1.DelegationHop{Spec: v1alpha1.DelegationHopSpec{Token: &token}}
	}
	for name, c := range map[string]struct {
		audience string // of the Secret
		token    v1alpha1.Token
		life     time.Duration
		want     bool
	}{
		"as it should be":           {life: 10 * time.Minute},
		"another audience":          {token: v1alpha1.Token{Audience: "vault"}, life: 10 * time.Minute, want: true},
		"the API server's again":    {audience: "vault", life: 10 * time.Minute, want: true},
		"a longer life than before": {token: v1alpha1.Token{Expiration: &metav1.Duration{Duration: time.Hour}}, life: 10 * time.Minute},
		"a shorter one":             {token: v1alpha1.Token{Expiration: &metav1.Duration{Duration: 20 * time.Minute}}, life: time.Hour, want: true},
		"not made yet":              {},
	} {
		secret := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{v1alpha1.AnnotationAudience: c.audience}}}
		s := &state{hop: hop(c.token), next: &v1alpha1.DelegationHopStatus{Credential: &v1alpha1.Credential{IssuedAt: *at(0), ExpiresAt: *at(c.life)}}}
		if got := outgrown(secret, s); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// An Event with a longer note is refused, and nobody is told anything.
func TestNote(t *testing.T) {
	for _, text := range []string{"short", strings.Repeat("x", 1024), strings.Repeat("x", 1025), strings.Repeat("ü", 1000)} {
		got := note(text)
		if len(got) > 1024 || len(text) <= 1024 && got != text || !strings.HasPrefix(text, strings.TrimSuffix(got, "…")) {
			t.Errorf("%d bytes become %d: %s", len(text), len(got), got)
		}
	}
}

func TestAsRefusal(t *testing.T) {
	roles := schema.GroupResource{Group: rbacv1.GroupName, Resource: "roles"}
	terminating := apierrors.NewForbidden(roles, "x", errors.New("it is being terminated"))
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	for name, c := range map[string]struct {
		err  error
		want v1alpha1.Reason // empty: no refusal
	}{
		"more than the controller holds": {err: apierrors.NewForbidden(roles, "x", errors.New("not held")), want: v1alpha1.ReasonScopeExceedsCeiling},
		"no namespace":                   {err: apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "on"), want: v1alpha1.ReasonNotYetValid},
		"a namespace that goes":          {err: terminating, want: v1alpha1.ReasonNotYetValid},
		"the Role is gone":               {err: apierrors.NewNotFound(roles, "x")},
		"the API server is overloaded":   {err: apierrors.NewTooManyRequests("later", 1)},
	} {
		var got v1alpha1.Reason
		if refused := (refusal{}); errors.As(asRefusal(fmt.Errorf("making it: %w", c.err)), &refused) {
			got = refused.Reason
		}
		if got != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}
