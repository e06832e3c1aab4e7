//go:build unix

package random

import (
	"fmt"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// account is the name of the account that a hop has by its status, or of one that it never had.
func (w *world) account(hop int) string {
	h := w.hop(hop)
	w.must(existing(suite.admin.Get(w.ctx, client.ObjectKeyFromObject(h), h)))
	if name := h.Status.ServiceAccountName; name != "" {
		return name
	}
	return "dhop-" + h.Name + ".none.4102444800"
}

// has is what a hop has, of the kind that a step chooses; nil if there is none.
func (w *world) has(s step) client.Object {
	list := []client.ObjectList{&rbacv1.RoleBindingList{}, &rbacv1.RoleList{}, &corev1.ServiceAccountList{}, &corev1.SecretList{}}[s.Kind]
	w.must(suite.admin.List(w.ctx, list, client.MatchingLabels{
		v1alpha1.LabelHopName: hopName(s.Hop), v1alpha1.LabelHopNamespace: w.home(s.Hop),
	}))
	switch l := list.(type) {
	case *rbacv1.RoleBindingList:
		for i := range l.Items {
			return &l.Items[i]
		}
	case *rbacv1.RoleList:
		for i := range l.Items {
			return &l.Items[i]
		}
	case *corev1.ServiceAccountList:
		for i := range l.Items {
			return &l.Items[i]
		}
	case *corev1.SecretList:
		for i := range l.Items {
			return &l.Items[i]
		}
	}
	return nil
}

// deleteOf has an administrator delete what a hop has, which the floor leaves to everybody who may.
func (w *world) deleteOf(s step) (string, error) {
	o := w.has(s)
	if o == nil {
		return hopName(s.Hop) + " has nothing to delete", nil
	}
	return fmt.Sprintf("the administrator deletes %T %s/%s", o, o.GetNamespace(), o.GetName()), existing(suite.admin.Delete(w.ctx, o))
}

// editOf has an administrator change what a hop has. Only its Secret has a name that is not reserved.
func (w *world) editOf(s step) (string, error) {
	o := w.has(s)
	if o == nil {
		return hopName(s.Hop) + " has nothing to change", nil
	}
	labels := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"labels":{%q:"another"}}}`, v1alpha1.LabelHopName))
	words, err := fmt.Sprintf("the administrator changes %T %s/%s", o, o.GetNamespace(), o.GetName()), suite.admin.Patch(w.ctx, o, labels)
	if strings.HasPrefix(o.GetName(), "dhop-") {
		return words, w.mustBeRefused(words, err)
	}
	return words, existing(err)
}

// mustBeRefused breaks the run unless the API server refused, or found nothing to do it to.
func (w *world) mustBeRefused(words string, err error) error {
	if err == nil {
		w.words = append(w.words, words+": not refused")
		w.broken([]string{"the floor did not refuse: " + words})
	}
	if !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err) && !apierrors.IsNotFound(err) {
		w.must(fmt.Errorf("%s: %w", words, err))
	}
	return err
}

// stepAround has an administrator try what the floor refuses.
func (w *world) stepAround(s step) (string, error) {
	ways := []action{
		(*world).bindAccount, (*world).requestToken, (*world).openGate, (*world).takeAccount, (*world).makeAccount,
	}
	words, err := ways[(s.Kind+s.Parent+hops)%len(ways)](w, s)
	words = "the administrator " + words
	return words, w.mustBeRefused(words, err)
}

func (w *world) bindAccount(s step) (string, error) {
	account := w.account(s.Hop)
	return "binds " + account + " to cluster-admin", suite.admin.Create(w.ctx, extraBinding(w.on[s.On], w.home(s.Hop), account))
}

// extraBinding gives an account all rights in a namespace.
func extraBinding(ns, accountNS, account string) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "extra"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: accountNS, Name: account}},
	}
}

func (w *world) requestToken(s step) (string, error) {
	a := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.home(s.Hop), Name: w.account(s.Hop)}}
	return "asks for a token of " + a.Name, suite.admin.SubResource("token").Create(w.ctx, a, &authenticationv1.TokenRequest{})
}

var errNoPod = apierrors.NewNotFound(corev1.Resource("pods"), "waiting at a gate")

// openGate removes the gate of a pod that waits.
func (w *world) openGate(s step) (string, error) {
	var pods corev1.PodList
	if err := suite.admin.List(w.ctx, &pods, client.InNamespace(w.home(s.Hop)), client.HasLabels{v1alpha1.LabelHop}); err != nil {
		return "looks for a pod", err
	}
	for _, pod := range pods.Items {
		if len(pod.Spec.SchedulingGates) == 0 {
			continue
		}
		err := suite.admin.Patch(w.ctx, &pod, client.RawPatch(types.JSONPatchType, []byte(noGates)))
		// Between the two requests the controller may have opened it.
		if err == nil || apierrors.IsInvalid(err) && strings.Contains(err.Error(), "schedulingGates") {
			if now := (&corev1.Pod{}); suite.admin.Get(w.ctx, client.ObjectKeyFromObject(&pod), now) == nil && openedByController(now) {
				err = errNoPod
			}
		}
		return "opens the gate of " + pod.Name, err
	}
	return "finds no gate to open", errNoPod
}

const noGates = `[{"op":"replace","path":"/spec/schedulingGates","value":[]}]`

// openedByController says whether the controller has opened the gate of a pod, who sets a deadline in the same update.
func openedByController(pod *corev1.Pod) bool { return pod.Spec.ActiveDeadlineSeconds != nil }

// takeAccount creates a pod with the account of a hop, without a gate.
func (w *world) takeAccount(s step) (string, error) {
	w.made++
	t := podOf(hopName(s.Hop), w.account(s.Hop))
	pod := &corev1.Pod{ObjectMeta: t.ObjectMeta, Spec: t.Spec}
	pod.Namespace, pod.Name = w.home(s.Hop), fmt.Sprintf("dhop-taken-%d", w.made)
	pod.Labels = nil
	return "creates a pod as " + pod.Spec.ServiceAccountName + " without a hop", suite.admin.Create(w.ctx, pod)
}

func (w *world) makeAccount(s step) (string, error) {
	a := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
		Namespace: w.home(s.Hop), Name: fmt.Sprintf("dhop-%s.admin.4102444800", hopName(s.Hop)),
	}}
	return "makes the account " + a.Name, suite.admin.Create(w.ctx, a)
}
