package rbac

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// TestActors: who can act as the accounts of a namespace, by each way, and who cannot.
func TestActors(t *testing.T) {
	const controller = "system:serviceaccount:wayleave-system:wayleave-controller"
	may := func(name, group, resource, verb string, names ...string) client.Object {
		return &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{group}, Resources: []string{resource}, Verbs: []string{verb}, ResourceNames: names},
		}}
	}
	const can = "User eve can "
	eve := user("eve")
	labelled := func(o client.Object, key, value string) client.Object {
		o.SetLabels(map[string]string{key: value})
		return o
	}
	grant := func(s rbacv1.Subject) client.Object {
		return labelled(bindingTo("a", "dhop-x.5f0d.1", "lists", s), v1alpha1.LabelHopUID, "u")
	}
	own, notOwn := grant(account("a", "dhop-x.5f0d.1")), []string{can + "read its Secrets (RoleBinding a/dhop-x.5f0d.1)"}
	tenants := labelled(bindingTo("a", "system:x", "lists", eve), "kubernetes.io/bootstrapping", "rbac-defaults")
	roles := []client.Object{
		may("impersonate", "", "serviceaccounts", "impersonate"),
		may("constrained", "authentication.k8s.io", "serviceaccounts", "impersonate:serviceaccount"),
		may("any", "*", "*", "*"), may("tokens", "", "*/token", "create"), may("lists", "", "secrets", "list"),
		may("one", "", "secrets", "get", "s"), may("writes", "", "secrets", "create"), may("pods", "", "pods", "get"),
		may("others", "", "users", "impersonate"),
	}
	inNamespace, inCluster := []string{can + "read its Secrets (RoleBinding a/x)"}, []string{can + "read its Secrets (ClusterRoleBinding x)"}
	all := []string{
		can + "impersonate its accounts (RoleBinding a/x)", can + "read its Secrets (RoleBinding a/x)",
		can + "request tokens of its accounts (RoleBinding a/x)",
	}
	looksSo := labelled(clusterBinding("x", "lists", eve), "kubernetes.io/bootstrapping", "rbac-defaults")
	devs, ofDevs := bindingTo("a", "x", "lists", group("devs")), []string{"Group devs can read its Secrets (RoleBinding a/x)"}
	isSo := labelled(clusterBinding("system:x", "lists", eve), "kubernetes.io/bootstrapping", "rbac-defaults")
	bot, ofBot := bindingTo("a", "x", "lists", account("ci", "bot")), []string{"ServiceAccount ci/bot can read its Secrets (RoleBinding a/x)"}
	for name, test := range map[string]struct {
		object client.Object
		want   []string
	}{
		"impersonation":              {bindingTo("a", "x", "impersonate", eve), all[:1]},
		"of accounts alone":          {bindingTo("a", "x", "constrained", eve), all[:1]},
		"of users":                   {bindingTo("a", "x", "others", eve), nil},
		"tokens":                     {bindingTo("a", "x", "tokens", eve), []string{can + "request tokens of its accounts (RoleBinding a/x)"}},
		"Secrets":                    {bindingTo("a", "x", "lists", eve), inNamespace},
		"one Secret":                 {bindingTo("a", "x", "one", eve), inNamespace},
		"writing Secrets":            {bindingTo("a", "x", "writes", eve), nil},
		"pods":                       {bindingTo("a", "x", "pods", eve), nil},
		"elsewhere":                  {bindingTo("b", "x", "impersonate", eve), nil},
		"in the cluster":             {clusterBinding("x", "lists", eve), inCluster},
		"an account":                 {bot, ofBot},
		"a group":                    {devs, ofDevs},
		"the controller":             {bindingTo("a", "x", "any", account("wayleave-system", "wayleave-controller")), nil},
		"an administrator":           {clusterBinding("x", "any", eve), nil},
		"one of the namespace":       {bindingTo("a", "x", "any", eve), all},
		"what a hop was granted":     {own, nil},
		"what every cluster has":     {isSo, nil},
		"what only looks granted":    {grant(eve), notOwn},
		"what a tenant calls so":     {tenants, []string{can + "read its Secrets (RoleBinding a/system:x)"}},
		"what only looks so":         {looksSo, inCluster},
		"a role that does not exist": {bindingTo("a", "x", "nosuch", eve), nil},
	} {
		actors, complete, err := reader(t, append([]client.Object{test.object}, roles...)).Actors(t.Context(), "a", controller)
		if err != nil || !complete {
			t.Fatalf("%s: complete %t: %v", name, complete, err)
		}
		var got []string
		for _, a := range actors {
			got = append(got, a.String())
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
