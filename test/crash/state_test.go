//go:build unix

package crash

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/workload"
)

// state reads all that there is of a run and writes it down so that two runs compare: names and times that differ from
// run to run are replaced by what they mean. What means nothing is left as it is, and shows up as a
// difference: a ServiceAccount that no status names is an orphan.
func (r *run) state(ctx context.Context) (string, error) {
	names := r.readNames()
	var lines []string
	add := func(what string, facts map[string]any) error {
		raw, err := yaml.Marshal(facts)
		if err != nil {
			return err
		}
		lines = append(lines, "- "+what+"\n"+indent(string(raw)))
		return nil
	}
	for _, list := range []client.ObjectList{&v1alpha1.DelegationPathList{}, &v1alpha1.DelegationHopList{}} {
		if err := r.each(ctx, list, func(o client.Object) error {
			facts, err := names.status(o)
			if err != nil {
				return err
			}
			return add(fmt.Sprintf("%T %s", o, names.of(o)), facts)
		}); err != nil {
			return "", err
		}
	}
	for _, list := range []client.ObjectList{
		&corev1.ServiceAccountList{}, &corev1.SecretList{}, &rbacv1.RoleList{}, &rbacv1.RoleBindingList{},
		&rbacv1.ClusterRoleList{}, &rbacv1.ClusterRoleBindingList{}, &batchv1.JobList{}, &corev1.PodList{},
	} {
		if err := r.each(ctx, list, func(o client.Object) error {
			if !r.concerns(o) {
				return nil
			}
			return add(fmt.Sprintf("%T %s", o, names.of(o)), names.content(o))
		}); err != nil {
			return "", err
		}
	}
	slices.Sort(lines)
	return names.replace(strings.Join(lines, "")), nil
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n    ") + "\n"
}

func (r *run) each(ctx context.Context, list client.ObjectList, do func(client.Object) error) error {
	namespaces := r.namespaces()
	if err := suite.admin.List(ctx, list); err != nil {
		return err
	}
	return meta.EachListItem(list, func(item runtime.Object) error {
		o, ok := item.(client.Object)
		if !ok || o.GetNamespace() != "" && !slices.Contains(namespaces, o.GetNamespace()) {
			return nil
		}
		return do(o)
	})
}

// concerns says whether an object of one of the run's namespaces, or of none, has to do with hops. It goes by name as
// well as by label: what lost its labels is a leftover, too.
func (r *run) concerns(o client.Object) bool {
	if o.GetNamespace() == "" {
		return slices.Contains(r.namespaces(), o.GetLabels()[v1alpha1.LabelHopNamespace])
	}
	_, secret := o.(*corev1.Secret)
	return secret || o.GetLabels()[v1alpha1.LabelHop] != "" || o.GetLabels()[v1alpha1.LabelHopName] != "" || strings.HasPrefix(
		o.GetName(), v1alpha1.AccountPrefix,
	) || isJob(o)
}

func isJob(o client.Object) bool {
	_, ok := o.(*batchv1.Job)
	return ok
}

// names are what differs from run to run, and what it means.
type names struct {
	run      *run
	replaced []string
	accounts map[string]string // by hop: the account that its status names
}

// readNames reads the hops first, since they say what the rest is called.
func (r *run) readNames() *names {
	n := &names{run: r, accounts: map[string]string{}}
	for i, namespace := range r.namespaces() {
		n.replaced = append(n.replaced, namespace, fmt.Sprintf("NAMESPACE%d", i))
	}
	for uid, meaning := range r.uids {
		n.know(uid, meaning)
	}
	return n
}

func (n *names) know(value, meaning string) {
	if value != "" {
		n.replaced = append([]string{value, meaning}, n.replaced...)
	}
}

var timestamp = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)

func (n *names) replace(text string) string {
	return timestamp.ReplaceAllString(strings.NewReplacer(n.replaced...).Replace(text), "TIME")
}

func (n *names) of(o client.Object) string {
	name := o.GetName()
	if _, ok := o.(*corev1.Pod); ok {
		name = "*"
	}
	return o.GetNamespace() + "/" + name
}

// status is what a path's or hop's status says, and learns the names that it gives away.
func (n *names) status(o client.Object) (map[string]any, error) {
	switch o := o.(type) {
	case *v1alpha1.DelegationPath:
		n.know(string(o.UID), "UID("+o.Name+")")
		return map[string]any{
			"conditions": conditionsOf(o.Status.Conditions), "active": o.Status.ActiveSince != nil, "expires": o.Status.ExpiresAt != nil,
			"observed": o.Status.ObservedGeneration == o.Generation, "hops": o.Status.Hops, "withdrawal": withdrawalOf(o.Status.Withdrawal),
		}, nil
	case *v1alpha1.DelegationHop:
		n.know(string(o.UID), "UID("+o.Name+")")
		n.know(o.Status.ServiceAccountName, "ACCOUNT("+o.Name+")")
		facts := map[string]any{
			"conditions": conditionsOf(o.Status.Conditions), "active": o.Status.ActiveSince != nil,
			"path": o.Status.PathUID, "parent": o.Status.ParentUID,
			"observed": o.Status.ObservedGeneration == o.Generation, "account": o.Status.ServiceAccountName,
			"withdrawal": withdrawalOf(o.Status.Withdrawal), "spent": delegation.IsSpent(o, &o.Status),
		}
		if u := o.Status.Uses; u != nil {
			facts["uses"], facts["live"] = u.Summary, len(u.Live)
		}
		if o.Status.ExpiresAt != nil && o.Status.ServiceAccountName != "" {
			facts["ends in the account's name"] = strings.HasSuffix(
				o.Status.ServiceAccountName, "."+strconv.FormatInt(o.Status.ExpiresAt.Unix(), 10),
			)
		}
		if c := o.Status.Credential; c != nil {
			n.know(c.ID, "CREDENTIAL("+o.Name+")")
			facts["credential"] = map[string]any{"secret": c.SecretName, "id": c.ID, "lives": c.ExpiresAt.Sub(c.IssuedAt.Time).Round(5e9).String()}
		}
		if o.Status.ServiceAccountName != "" {
			n.accounts[o.Namespace+"/"+o.Name] = strconv.FormatInt(o.Status.Incarnation, 10)
		}
		return facts, nil
	}
	return nil, fmt.Errorf("%T has no status that compares", o)
}

func conditionsOf(conditions []metav1.Condition) []string {
	var lines []string
	for _, c := range conditions {
		lines = append(lines, fmt.Sprintf("%s=%s %s %d %q", c.Type, c.Status, c.Reason, c.ObservedGeneration, c.Message))
	}
	slices.Sort(lines)
	return lines
}

// withdrawalOf is which steps of a withdrawal are done.
func withdrawalOf(w *v1alpha1.Withdrawal) map[string]any {
	if w == nil {
		return nil
	}
	return map[string]any{
		"reason": w.Reason, "unbound": w.UnboundAt != nil, "identity deleted": w.IdentityDeletedAt != nil,
		"workloads stopped": w.WorkloadsStoppedAt != nil, "completed": w.CompletedAt != nil,
	}
}

// content is what an object says.
func (n *names) content(o client.Object) map[string]any {
	facts := map[string]any{}
	if _, ok := o.(*corev1.Pod); !ok {
		labels := map[string]string{}
		for key, value := range o.GetLabels() {
			hop := o.GetLabels()[v1alpha1.LabelHopNamespace] + "/" + o.GetLabels()[v1alpha1.LabelHopName]
			if key == v1alpha1.LabelIncarnation && value == n.accounts[hop] {
				value = "that of the status"
			}
			labels[key] = value
		}
		facts["labels"] = labels
	}
	var owners []string
	for _, owner := range o.GetOwnerReferences() {
		if owner.Kind == "DelegationHop" {
			owners = append(owners, owner.Name+" "+string(owner.UID))
		}
	}
	facts["owners"] = owners
	facts["going"] = !o.GetDeletionTimestamp().IsZero()
	switch o := o.(type) {
	case *corev1.ServiceAccount:
		facts["automount"] = o.AutomountServiceAccountToken
	case *corev1.Secret:
		var keys []string
		for key, value := range o.Data {
			keys = append(keys, fmt.Sprintf("%s %t", key, len(value) > 0))
		}
		slices.Sort(keys)
		facts["keys"], facts["credential"] = keys, o.Annotations[v1alpha1.AnnotationCredentialID]
	case *rbacv1.Role:
		facts["rules"] = o.Rules
	case *rbacv1.ClusterRole:
		facts["rules"] = o.Rules
	case *rbacv1.RoleBinding:
		facts["role"], facts["subjects"] = o.RoleRef, o.Subjects
	case *rbacv1.ClusterRoleBinding:
		facts["role"], facts["subjects"] = o.RoleRef, o.Subjects
	case *batchv1.Job:
		facts["suspended"], facts["annotations"] = o.Spec.Suspend, ours(o.Annotations)
	case *corev1.Pod:
		facts["gated"], facts["has a deadline"], facts["phase"] = workload.IsGated(o), o.Spec.ActiveDeadlineSeconds != nil, o.Status.Phase
		facts["says that it waits"] = slices.ContainsFunc(o.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == v1alpha1.ConditionPodGranted && c.Status == corev1.ConditionFalse
		})
	}
	return facts
}

// ours are those of some annotations that are Wayleave's.
func ours(annotations map[string]string) map[string]string {
	annotations = maps.Clone(annotations)
	maps.DeleteFunc(annotations, func(key, _ string) bool { return !strings.HasPrefix(key, v1alpha1.GroupName+"/") })
	return annotations
}
