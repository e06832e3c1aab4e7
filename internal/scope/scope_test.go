package scope

import (
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// scopeOf builds a scope from options.
func scopeOf(options ...func(*v1alpha1.Scope)) v1alpha1.Scope {
	var s v1alpha1.Scope
	for _, o := range options {
		o(&s)
	}
	return s
}

func inOne(namespace string, rules ...v1alpha1.ResourceRule) func(*v1alpha1.Scope) {
	return inAll([]string{namespace}, rules...)
}

func inAll(namespaces []string, rules ...v1alpha1.ResourceRule) func(*v1alpha1.Scope) {
	return func(s *v1alpha1.Scope) {
		s.Namespaced = append(s.Namespaced, v1alpha1.NamespacedScope{Namespaces: namespaces, Rules: rules})
	}
}

func cluster(rules ...v1alpha1.ResourceRule) func(*v1alpha1.Scope) {
	return func(s *v1alpha1.Scope) {
		for _, r := range rules {
			s.Cluster = append(s.Cluster, v1alpha1.ClusterRule{
				APIGroups: r.APIGroups, Resources: r.Resources, Verbs: r.Verbs, ResourceNames: r.ResourceNames,
			})
		}
	}
}

func urls(verb string, paths ...string) func(*v1alpha1.Scope) {
	return func(s *v1alpha1.Scope) {
		s.Cluster = append(s.Cluster, v1alpha1.ClusterRule{NonResourceURLs: paths, Verbs: []string{verb}})
	}
}

func forAudiences(names ...string) func(*v1alpha1.Scope) {
	return func(s *v1alpha1.Scope) { s.Audiences = names }
}

// may is a rule of one verb on one resource.
func may(verb, group, resource string, names ...string) v1alpha1.ResourceRule {
	return v1alpha1.ResourceRule{
		APIGroups: []string{group}, Resources: []string{resource}, Verbs: []string{verb}, ResourceNames: names,
	}
}

// policy is the same as a rule of RBAC.
func policy(verb, group, resource string, names ...string) rbacv1.PolicyRule {
	return fromNamespaced(may(verb, group, resource, names...))
}

func texts(permissions []Permission) []string {
	var s []string
	for _, a := range permissions {
		s = append(s, a.String())
	}
	return s
}

func fields(problems []Problem) []string {
	var s []string
	for _, p := range problems {
		s = append(s, p.Field)
	}
	return s
}

func mustParse(s v1alpha1.Scope) Set {
	set, problems := Parse(s)
	if len(problems) > 0 {
		panic(problems[0].String())
	}
	return set
}
