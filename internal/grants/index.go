package grants

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// HopIndex is the field index, a namespace/name, of what was created for a hop by the hop.
const HopIndex = "hop"

// CacheLabel selects the ServiceAccounts that the cache has to hold: those that were created for a hop.
const CacheLabel = v1alpha1.LabelHopUID

// Index adds the index that a Manager needs.
func Index(ctx context.Context, indexer client.FieldIndexer) error {
	for _, o := range WatchedTypes() {
		if err := indexer.IndexField(ctx, o, HopIndex, func(o client.Object) []string {
			if key, ok := HopOf(o); ok {
				return []string{key.String()}
			}
			return nil
		}); err != nil {
			return fmt.Errorf("indexing %T by hop: %w", o, err)
		}
	}
	return nil
}

// HopOf is the hop that an object was created for. Labels alone are not enough: any tenant can put them on an object of
// their own, to have it deleted as another tenant's hop, or to make that hop wait for it. What was created for a hop has
// the hop's name in its own, and an account is in the hop's namespace.
func HopOf(o client.Object) (types.NamespacedName, bool) {
	labels := o.GetLabels()
	key := types.NamespacedName{Namespace: labels[v1alpha1.LabelHopNamespace], Name: labels[v1alpha1.LabelHopName]}
	if key.Name == "" || key.Namespace == "" || labels[v1alpha1.LabelHopUID] == "" {
		return key, false
	}
	if _, account := o.(*corev1.ServiceAccount); account && o.GetNamespace() != key.Namespace {
		return key, false
	}
	return key, strings.HasPrefix(o.GetName(), v1alpha1.AccountPrefix+key.Name+".")
}
