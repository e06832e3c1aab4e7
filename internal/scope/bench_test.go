package scope

import (
	"fmt"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	oracle "k8s.io/component-helpers/auth/rbac/validation"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// child256 is a scope of 256 permissions in one namespace: 8 resources × 8 verbs × 4 names.
func child256() v1alpha1.Scope {
	return scopeOf(inOne("payments", v1alpha1.ResourceRule{
		APIGroups: []string{"apps"}, Resources: many("resource", 8), Verbs: many("verb", 8), ResourceNames: many("name", 4),
	}))
}

// rules1000 are a thousand rules of four resources, four verbs and three groups each.
func rules1000(resource func(i int) []string, verbs []string) []rbacv1.PolicyRule {
	rules := make([]rbacv1.PolicyRule, 1000)
	for i := range rules {
		rules[i] = rbacv1.PolicyRule{APIGroups: []string{"", "batch", "apps"}, Resources: resource(i), Verbs: verbs}
	}
	return rules
}

// BenchmarkMissing holds 256 permissions against a thousand rules, beside the library that the API server uses. Nothing
// is covered except by chance, so that neither can stop early. This package's time includes parsing the child and all
// preparation.
func BenchmarkMissing(b *testing.B) {
	scope := child256()
	permissions := mustParse(scope)
	child := []rbacv1.PolicyRule{fromNamespaced(scope.Namespaced[0].Rules[0])}
	for _, bc := range []struct {
		name  string
		rules []rbacv1.PolicyRule
	}{
		// Most rules of a cluster are about other resources.
		{"OtherResources", rules1000(func(i int) []string { return many(fmt.Sprintf("other%d-", i), 4) }, many("verb", 4))},
		// The worst case here: each rule matches in all dimensions but the last that is looked at.
		{"OtherVerbs", rules1000(func(int) []string { return many("resource", 4) }, many("other", 4))},
		// Each rule covers a little of the child, and half of it stays.
		{"Partly", rules1000(func(i int) []string { return []string{fmt.Sprintf("resource%d", i%4), "a", "b", "c"} }, many("verb", 4))},
	} {
		rights := Rights{Namespaced: map[string][]rbacv1.PolicyRule{"payments": bc.rules}}
		b.Run(bc.name+"/scope", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				set, _ := Parse(scope)
				set.MissingFrom(rights)
			}
		})
		b.Run(bc.name+"/library", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				oracle.Covers(bc.rules, child)
			}
		})
		if got, want := len(permissions.MissingFrom(rights)), len(missingByOracle(permissions.Permissions(), rights)); got != want || got == 0 {
			b.Fatalf("%s: %d missing, the library says %d", bc.name, got, want)
		}
	}
}

// BenchmarkMissingFromParent holds 256 permissions against a parent scope of 1024.
func BenchmarkMissingFromParent(b *testing.B) {
	child := child256()
	parent := scopeOf(inAll([]string{"payments", "orders", "billing", "stock"}, child.Namespaced[0].Rules...))
	b.ReportAllocs()
	for b.Loop() {
		c, _ := Parse(child)
		p, _ := Parse(parent)
		if !p.Covers(c) {
			b.Fatal("the parent has the child's rules")
		}
	}
}

// BenchmarkValidateEnormous rejects scopes of 10^16 permissions and more.
func BenchmarkValidateEnormous(b *testing.B) {
	for name, s := range enormous() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Validate(s)
			}
		})
	}
}

// BenchmarkEscalationRisks looks for what never fits in 1024 permissions of which all fit.
func BenchmarkEscalationRisks(b *testing.B) {
	read := v1alpha1.ResourceRule{
		APIGroups: []string{""}, Resources: many("resource", 32), Verbs: []string{"get", "list"}, ResourceNames: many("name", 4),
	}
	s := scopeOf(inOne("a", read), inOne("b", read), inOne("c", read), inOne("d", read))
	b.ReportAllocs()
	for b.Loop() {
		if p := EscalationRisks(s, Bearer{Token: true}); len(p) > 0 {
			b.Fatal(p)
		}
	}
}
