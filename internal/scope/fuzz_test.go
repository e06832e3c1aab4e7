package scope

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	oracle "k8s.io/component-helpers/auth/rbac/validation"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/testutil/choice"
)

// source chooses scopes and rules from the bytes of a fuzzer.
type source struct{ choice.Source }

func (s *source) resourceRule() v1alpha1.ResourceRule {
	return v1alpha1.ResourceRule{
		APIGroups: s.Some(1, "", "apps"), Resources: s.Some(1, "pods", "pods/log", "deployments", "deployments/scale", "*", "*/log"),
		Verbs: s.Some(1, "get", "list", "patch", "*"), ResourceNames: s.Some(0, "x", "y", "*"),
	}
}

func (s *source) scope() v1alpha1.Scope {
	var scope v1alpha1.Scope
	for range s.Number(3) {
		e := v1alpha1.NamespacedScope{Namespaces: s.Some(1, "a", "b", "c")}
		for range 1 + s.Number(2) {
			e.Rules = append(e.Rules, s.resourceRule())
		}
		scope.Namespaced = append(scope.Namespaced, e)
	}
	for range s.Number(3) {
		cluster(s.resourceRule())(&scope)
	}
	for range s.Number(3) {
		scope.Cluster = append(scope.Cluster, v1alpha1.ClusterRule{
			NonResourceURLs: s.Some(1, "/", "/a", "/a/b", "/a/bc", "/b", "/a*"), Verbs: s.Some(1, "get", "post"),
		})
	}
	scope.Audiences = s.Some(0, "vault", "aws")
	return scope
}

// policies are RBAC rules with everything that RBAC accepts, meaningful or not.
func (s *source) policies() []rbacv1.PolicyRule {
	var rules []rbacv1.PolicyRule
	for range s.Number(4) {
		if s.Number(3) == 0 {
			rules = append(rules, rbacv1.PolicyRule{
				NonResourceURLs: s.Some(0, "/", "/a", "/a/*", "/a*", "/a**", "*", "/a/b", ""), Verbs: s.Some(0, "get", "post", "*"),
				ResourceNames: s.Some(0, "x"),
			})
			continue
		}
		rules = append(rules, rbacv1.PolicyRule{
			APIGroups: s.Some(0, "", "apps", "*"), ResourceNames: s.Some(0, "x", "y", "", "*"),
			Resources: s.Some(0, "pods", "pods/log", "deployments", "deployments/scale", "*", "*/scale", "*/log", "pods/*"),
			Verbs:     s.Some(0, "get", "list", "patch", "*"), NonResourceURLs: s.Some(0, "*", "/a"),
		})
	}
	return rules
}

func (s *source) rights() Rights {
	return Rights{
		Cluster:    s.policies(),
		Namespaced: map[string][]rbacv1.PolicyRule{"a": s.policies(), "b": s.policies()},
	}
}

func seed(f *testing.F) {
	f.Helper()
	f.Add([]byte(nil))
	for step := 1; step < 40; step++ {
		b := make([]byte, 64+step*8)
		for i := range b {
			b[i] = byte(i * i * step / 3)
		}
		f.Add(b)
	}
}

// asRule is a permission as the oracle reads it.
func asRule(a Permission) []rbacv1.PolicyRule {
	if a.URL != "" {
		return []rbacv1.PolicyRule{{NonResourceURLs: []string{a.URL}, Verbs: []string{a.Verb}}}
	}
	r := policy(a.Verb, a.APIGroup, a.Resource)
	if a.Name != "" {
		r.ResourceNames = []string{a.Name}
	}
	return []rbacv1.PolicyRule{r}
}

// missingByOracle is MissingFrom as the library answers it.
func missingByOracle(permissions []Permission, rights Rights) []Permission {
	var missing []Permission
	for _, a := range permissions {
		if a.Audience != "" {
			continue
		}
		rules := rights.Cluster
		if a.Namespace != "" {
			rules = slices.Concat(rules, rights.Namespaced[a.Namespace])
		}
		if covered, _ := oracle.Covers(rules, asRule(a)); !covered {
			missing = append(missing, a)
		}
	}
	return missing
}

func FuzzMissingAgreesWithOracle(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		s := source{data}
		scope, rights := s.scope(), s.rights()
		set, problems := Parse(scope)
		if len(problems) > 0 {
			t.Fatalf("a small scope is rejected: %v", problems)
		}
		want := missingByOracle(set.Permissions(), rights)
		if diff := cmp.Diff(want, set.MissingFrom(rights)); diff != "" {
			t.Errorf("missing of %+v\nfrom %+v (-oracle +got):\n%s", scope, rights, diff)
		}
	})
}

// FuzzLaws checks the laws of inclusion on scopes, some of which are built to lie within others.
func FuzzLaws(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		s := source{data}
		scopes := []v1alpha1.Scope{s.scope(), s.scope()}
		for range 3 {
			scopes = append(scopes, s.without(scopes[len(scopes)-1]))
		}
		sets := make([]Set, len(scopes))
		for i, scope := range scopes {
			sets[i] = mustParse(scope)
		}
		for i, a := range sets {
			if !a.Covers(a) {
				t.Errorf("%v does not cover itself", a.Permissions())
			}
			if i > 1 && !sets[i-1].Covers(a) {
				t.Errorf("%v is wider than %v, of which it is a part", a.Permissions(), sets[i-1].Permissions())
			}
			for _, b := range sets {
				for _, c := range sets {
					if a.Covers(b) && b.Covers(c) && !a.Covers(c) {
						t.Errorf("inclusion is not transitive: %v, %v, %v", a.Permissions(), b.Permissions(), c.Permissions())
					}
				}
				if a.Covers(b) && len(b.MissingFrom(a.Rights())) > 0 {
					t.Errorf("the rights of %v do not allow %v, which is inside", a.Permissions(), b.Permissions())
				}
			}
		}
	})
}

// without returns the scope less one of its rules or audiences.
func (s *source) without(scope v1alpha1.Scope) v1alpha1.Scope {
	less := *scope.DeepCopy()
	switch {
	case s.Number(2) == 0 && len(less.Namespaced) > 0:
		e := &less.Namespaced[s.Number(len(less.Namespaced))]
		if i := s.Number(len(e.Rules)); len(e.Rules) > 1 {
			e.Rules = slices.Delete(e.Rules, i, i+1)
		} else {
			less.Namespaced = less.Namespaced[1:]
		}
	case len(less.Cluster) > 0:
		i := s.Number(len(less.Cluster))
		less.Cluster = slices.Delete(less.Cluster, i, i+1)
	case len(less.Audiences) > 0:
		less.Audiences = less.Audiences[1:]
	}
	return less
}

// FuzzRightsGrantExactlyTheScope compares what is granted with the rules as they were written, both ways.
func FuzzRightsGrantExactlyTheScope(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		s := source{data}
		scope := s.scope()
		granted := mustParse(scope).Rights()
		written := map[string][]rbacv1.PolicyRule{}
		for l := range rulesOf(scope) {
			if l.cluster {
				written[""] = append(written[""], l.rule)
			}
			for _, namespace := range l.namespaces {
				written[namespace] = append(written[namespace], l.rule)
			}
		}
		for _, place := range []string{"", "a", "b", "c"} {
			given := granted.Namespaced[place]
			if place == "" {
				given = granted.Cluster
			}
			if ok, more := oracle.Covers(written[place], given); !ok {
				t.Errorf("in %q more is granted than written: %v", place, more)
			}
			if ok, less := oracle.Covers(given, written[place]); !ok {
				t.Errorf("in %q less is granted than written: %v", place, less)
			}
		}
		slices.Reverse(scope.Namespaced)
		slices.Reverse(scope.Cluster)
		if diff := cmp.Diff(granted, mustParse(scope).Rights()); diff != "" {
			t.Errorf("the order of rules changes the rights:\n%s", diff)
		}
	})
}

// FuzzValidateBounded builds scopes of any size out of a few bytes.
func FuzzValidateBounded(f *testing.F) {
	seed(f)
	pool := many("x", 1<<14)
	pool[0], pool[1], pool[2] = "", "*", "pods"
	f.Fuzz(func(t *testing.T, data []byte) {
		s := source{data}
		length := func() []string {
			from := s.Number(4)
			return pool[from : from+s.Number(4)<<s.Number(13)]
		}
		var scope v1alpha1.Scope
		for range s.Number(6) << s.Number(7) {
			e := v1alpha1.NamespacedScope{Namespaces: length()}
			for range s.Number(6) << s.Number(4) {
				e.Rules = append(e.Rules, v1alpha1.ResourceRule{
					APIGroups: length(), Resources: length(), Verbs: length(), ResourceNames: length(),
				})
			}
			scope.Namespaced = append(scope.Namespaced, e)
		}
		for range s.Number(6) << s.Number(7) {
			scope.Cluster = append(scope.Cluster, v1alpha1.ClusterRule{
				APIGroups: length(), Resources: length(), Verbs: length(), ResourceNames: length(), NonResourceURLs: length(),
			})
		}
		scope.Audiences = length()

		set, problems := Parse(scope)
		if len(set.Permissions()) > MaxPermissions || len(problems) > maxProblems {
			t.Errorf("%d permissions, %d problems", len(set.Permissions()), len(problems))
		}
		if got := len(EscalationRisks(scope, Bearer{Token: true})); got > maxProblems {
			t.Errorf("%d escalation risks", got)
		}
		var rules []rbacv1.PolicyRule
		for _, r := range scope.Cluster {
			rules = append(rules, fromCluster(r))
		}
		missing, problems := set.MissingRequired(rules)
		if len(missing) > MaxEntryPermissions || len(problems) > maxProblems {
			t.Errorf("%d permissions required, %d problems", len(missing), len(problems))
		}
		if text := Describe(set.Permissions()); len(text) > 100_000 {
			t.Errorf("a description of %d bytes", len(text))
		}
	})
}
