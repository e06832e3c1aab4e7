package inprocess

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// podRules are about pods that run under a hop.
var podRules = map[string]tried{
	"connect": {
		idle: enter("x", "exec"),
		rows: map[string]row{
			"exec":        {"nobody enters a pod", enter("dhop-x", "exec"), enter("x", "exec")},
			"attach":      {"nobody enters a pod", enter("dhop-x", "attach"), enter("x", "attach")},
			"portforward": {"nobody enters a pod", enter("dhop-x", "portforward", by(eve)), enter("x", "portforward", by(eve))},
			"proxy":       {"nobody enters a pod", enter("dhop-x", "proxy", by(ours)), enter("x", "proxy", by(eve))},
		},
	},
	"gate": {
		idle: update(pod("x"), imageSwapped),
		rows: map[string]row{
			"opened":  {"opened by the controller", update(hopPod(), opened), update(hopPod(), opened, by(ours))},
			"a stamp": {"stamped at its creation", update(hopPod(), podNoted(v1alpha1.AnnotationDeclaredBy)), update(hopPod(), podNoted("note"))},
			"its hop": {"stay as they are", update(hopPod(), podLabelled(v1alpha1.LabelHop)), update(hopPod(), podLabelled("team"))},
			"by status": {
				"stay as they are", update(hopPod(), podLabelled(v1alpha1.LabelHop), at("status")), update(hopPod(), podLabelled("team"), at("status")),
			},
			"no label": {
				"stay as they are", update(hopPod(podLabelled("team")), func(p *corev1.Pod) { p.Labels = nil }),
				update(hopPod(podLabelled("team")), func(p *corev1.Pod) { delete(p.Labels, "team") }),
			},
			"what it requires": {"stay as they are", update(hopPod(), podNoted(v1alpha1.AnnotationRequires)), update(hopPod(), podNoted("note"))},
			"an image":         {"the images of a pod", update(hopPod(), imageSwapped, by(eve)), update(pod("x"), imageSwapped, by(eve))},
			"an image, past the gate": {
				"the images of a pod", update(hopPod(allOpened), imageSwapped), update(hopPod(allOpened), podLabelled("team")),
			},
			"an image, at the gate": {
				"the images of a pod", update(hopPod(of("default")), imageSwapped), update(hopPod(of("default")), podLabelled("team")),
			},
			"its Job": {"ownerReferences of a pod", update(hopPod(), ownedBy("1")), update(hopPod(), podOwnedByNobodyInControl)},
			"another Job": {
				"ownerReferences of a pod", update(hopPod(ownedBy("1")), ownedBy("2")), update(hopPod(ownedBy("1")), podLabelled("team")),
			},
		},
		worst: map[string]row{
			"a full pod, opened":   {"opened by the controller", update(hopPod(full), opened), update(hopPod(full), opened, by(ours))},
			"a full pod, an image": {"the images of a pod", update(hopPod(full), imageSwapped), update(hopPod(full), podLabelled("team"))},
			"a full pod, its Job": {
				"ownerReferences of a pod", update(hopPod(full, ownedBy("1")), ownedBy("2")), update(hopPod(full, ownedBy("1")), podNoted("note")),
			},
		},
	},
	"hop-pods": {
		idle: create(pod("x")),
		rows: map[string]row{
			"a reserved name":    {"those of the accounts of hops", create(hopPod(of("dhop-plain"))), create(hopPod())},
			"without the label":  {"the ServiceAccount belongs to a hop", create(hopPod(func(p *corev1.Pod) { p.Labels = nil })), create(hopPod())},
			"another hop":        {"the ServiceAccount belongs to a hop", create(hopPod(podLabelled(v1alpha1.LabelHop))), create(hopPod())},
			"another name":       {"begins with dhop-", create(hopPod(renamed("x", ""))), create(hopPod(renamed("", "dhop-x-")))},
			"without the gate":   {"waits at the scheduling gate", create(hopPod(allOpened)), create(hopPod())},
			"at another gate":    {"waits at the scheduling gate", create(hopPod(allOpened, gatedElsewhere)), create(hopPod(gatedElsewhere))},
			"a long token":       {"live 600 seconds", create(hopPod(lives(new(int64(3607))))), create(hopPod(lives(new(int64(600)))))},
			"a token by default": {"live 600 seconds", create(hopPod(lives(nil))), create(hopPod(func(p *corev1.Pod) { p.Spec.Volumes = nil }))},
			"a certificate":      {"has no certificate", create(hopPod(certified)), create(hopPod())},
			"an hour to end":     {"30 seconds to end", create(hopPod(ends(3600))), create(hopPod(ends(30)))},
			"after its end":      {"has ended", create(hopPod(of(ended))), create(hopPod())},
		},
		worst: map[string]row{
			"a full pod, a long token":  {"live 600 seconds", create(hopPod(full, lastLives(3607))), create(hopPod(full))},
			"a full pod, a certificate": {"has no certificate", create(hopPod(full, certified)), create(hopPod(full))},
			"a full pod, its end":       {"has ended", create(hopPod(full, of(ended))), create(hopPod(full))},
		},
	},
	"hop-pod-parts": {
		idle: update(pod("x"), debugged, at("ephemeralcontainers")),
		rows: map[string]row{
			"an ephemeral container": {
				"no ephemeral container", update(hopPod(), debugged, at("ephemeralcontainers")), update(pod("x"), debugged, at("ephemeralcontainers")),
			},
			"in a namesake": {
				"no ephemeral container",
				update(hopPod(), debugged, at("ephemeralcontainers")),
				update(pod("dhop-x"), debugged, at("ephemeralcontainers")),
			},
			"its size": {"is not resized", update(hopPod(), activeFor, at("resize")), update(pod("dhop-x"), activeFor, at("resize"))},
			"a binding": {
				"a binding brings no labels", create(bound(v1alpha1.AnnotationDeclaredBy), at("binding")), create(bound("note"), at("binding")),
			},
		},
		worst: map[string]row{"many annotations": {
			"a binding brings no labels", create(bound(append(many(2048, 63), v1alpha1.AnnotationDeclaredBy)...), at("binding")),
			create(bound(many(2048, 63)...), at("binding")),
		}},
	},
}

func podNoted(key string) func(*corev1.Pod) { return noted[*corev1.Pod](key, "eve") }

func podLabelled(key string) func(*corev1.Pod) { return labelled[*corev1.Pod](key, "eve") }

// ownedBy makes a Job the controller of a pod, as its last owner.
func ownedBy(uid string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.OwnerReferences = append(p.OwnerReferences, controlledBy(uid)) }
}

func controlledBy(uid string) metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: "batch/v1", Kind: "Job", Name: "j", UID: types.UID(uid), Controller: new(true)}
}

func podOwnedByNobodyInControl(p *corev1.Pod) {
	o := controlledBy("1")
	o.Controller = nil
	p.OwnerReferences = append(p.OwnerReferences, o)
}

func of(account string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.ServiceAccountName = account }
}

func renamed(name, generated string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Name, p.GenerateName = name, generated }
}

func ends(seconds int64) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.TerminationGracePeriodSeconds = &seconds }
}

func lives(seconds *int64) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Volumes[0].Projected.Sources[0].ServiceAccountToken.ExpirationSeconds = seconds
	}
}

// lastLives is of the last token of a full pod.
func lastLives(seconds int64) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		sources := p.Spec.Volumes[len(p.Spec.Volumes)-1].Projected.Sources
		sources[len(sources)-1].ServiceAccountToken.ExpirationSeconds = &seconds
	}
}

// certified adds a certificate as the last source of the last volume.
func certified(p *corev1.Pod) {
	last := p.Spec.Volumes[len(p.Spec.Volumes)-1].Projected
	last.Sources = append(last.Sources, corev1.VolumeProjection{
		PodCertificate: &corev1.PodCertificateProjection{SignerName: "example.com/s", KeyType: "ED25519", CredentialBundlePath: "c"},
	})
}

func debugged(p *corev1.Pod) {
	p.Spec.EphemeralContainers = []corev1.EphemeralContainer{
		{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "d", Image: elsewhere}},
	}
}

// bound is what binds a pod to a node, and brings annotations.
func bound(keys ...string) *corev1.Binding {
	b := &corev1.Binding{ObjectMeta: named("dhop-x"), Target: corev1.ObjectReference{Kind: "Node", Name: "n1"}}
	for _, key := range keys {
		noted[*corev1.Binding](key, "eve")(b)
	}
	return b
}
