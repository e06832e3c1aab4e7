package scope

import (
	"slices"
	"strings"
)

// condition is one requirement of a row of the table of escalation risks.
type condition func(request) bool

func all(conditions ...condition) condition {
	return func(r request) bool {
		return !slices.ContainsFunc(conditions, func(c condition) bool { return !c(r) })
	}
}

func not(c condition) condition {
	return func(r request) bool { return !c(r) }
}

// kind is met by the resources of a group, exactly.
func kind(group string, resources ...string) condition {
	return func(r request) bool {
		return r.Resource != "" && r.APIGroup == group && slices.Contains(resources, r.Resource)
	}
}

// tree is met by the resources of a group and all their subresources.
func tree(group string, resources ...string) condition {
	return func(r request) bool {
		return r.Resource != "" && r.APIGroup == group && slices.Contains(resources, r.parent())
	}
}

// group is met by every resource of a group.
func group(name string) condition {
	return func(r request) bool { return r.Resource != "" && r.APIGroup == name }
}

// in is met by the resources of a list.
func in(k kinds) condition {
	return func(r request) bool { return k.has(r.APIGroup, r.Resource) }
}

// verb is met by each of the verbs.
func verb(names ...string) condition {
	return func(r request) bool { return slices.Contains(names, r.Verb) }
}

// url is met by a URL and by what is below it.
func url(path string) condition {
	return func(r request) bool { return r.URL == path || strings.HasPrefix(r.URL, path+"/") }
}

// entersPods is about running pods.
var entersPods = kind("", "pods/exec", "pods/attach", "pods/portforward", "pods/ephemeralcontainers")

// wildcard is met by a star in the text.
func wildcard(text func(request) string) condition {
	return func(r request) bool { return strings.Contains(text(r), "*") }
}

// reads are the verbs that are known to change nothing.
var reads = verb("get", "list", "watch")

// write is met by every verb that is not known to read: an unknown verb may do anything.
func write(r request) bool { return r.Resource != "" && !reads(r) }

func read(r request) bool       { return r.Resource != "" && reads(r) }
func anyName(r request) bool    { return r.Resource != "" && r.Name == "" }
func onResource(r request) bool { return r.Resource != "" }
func onURL(r request) bool      { return r.URL != "" }
func onCluster(r request) bool  { return r.Resource != "" && len(r.namespaces) == 0 }
func builtin(r request) bool    { return r.Resource != "" && builtinGroups[r.APIGroup] }
func foreign(r request) bool {
	return r.Resource != "" && !builtinGroups[r.APIGroup] && r.APIGroup != ownGroup
}
func finalizers(r request) bool {
	return strings.HasSuffix(r.Resource, "/finalizers") && (r.Verb == "update" || r.Verb == "patch")
}

// deletes is met by the verbs that create and change nothing.
var deletes = verb("delete", "deletecollection")

// ofControlPlane is met in the namespaces that Kubernetes reserves, and in the operator's.
func ofControlPlane(r request) bool {
	return ofOperator(r) || slices.ContainsFunc(r.namespaces, func(n string) bool { return strings.HasPrefix(n, "kube-") })
}
func status(r request) bool        { return strings.HasSuffix(r.Resource, "/status") }
func withToken(r request) bool     { return r.bearer.Token }
func ofOperator(r request) bool    { return slices.Contains(r.namespaces, r.bearer.OperatorNamespace) }
func ofClusterKind(r request) bool { return clusterScoped.has(r.APIGroup, r.parent()) }

func impersonation(r request) bool { return strings.HasPrefix(r.Verb, "impersonate") }

func subresource(r request) bool { return strings.Contains(r.Resource, "/") }

// servedSubresource is met by the subresources that a CustomResourceDefinition cannot have.
func servedSubresource(r request) bool {
	_, sub, isSub := strings.Cut(r.Resource, "/")
	return isSub && sub != "status" && sub != "scale"
}

// unclean is met by URLs that a server may interpret as another URL.
func unclean(r request) bool {
	path := strings.TrimSuffix(r.URL, "/") + "/"
	return r.URL != "" && (!strings.HasPrefix(r.URL, "/") || strings.ContainsAny(r.URL, "%?#\\;") ||
		strings.Contains(path, "//") || strings.Contains(path, "/./") || strings.Contains(path, "/../"))
}
