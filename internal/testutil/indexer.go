// Package testutil has what unit tests of several packages share.
package testutil

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

// Indexer adds the indexes of a manager's cache to a fake client.
type Indexer struct{ *fake.ClientBuilder }

// IndexField adds one index.
func (i Indexer) IndexField(_ context.Context, o client.Object, field string, extract client.IndexerFunc) error {
	i.WithIndex(o, field, extract)
	return nil
}
