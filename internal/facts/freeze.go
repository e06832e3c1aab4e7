package facts

import (
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/wayleave/wayleave/internal/delegation"
)

// FreezeCache has a cache hold of all ConfigMaps the one that freezes the cluster, in the operator's namespace.
func FreezeCache(namespace string) cache.ByObject {
	return cache.ByObject{Namespaces: map[string]cache.Config{
		namespace: {FieldSelector: fields.OneTermEqualSelector("metadata.name", delegation.FreezeName)},
	}}
}
