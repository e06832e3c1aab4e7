package grants

import (
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// FieldOwner owns the fields that Wayleave applies.
const FieldOwner = client.FieldOwner("wayleave")

// writesAtOnce bounds how many objects one call writes at the same time.
const writesAtOnce = 16

// Manager manages the objects of grants.
type Manager struct {
	// Client writes to the API server, and reads from a cache that has the index of Index.
	Client client.Client
	// Live reads from the API server.
	Live client.Reader
	// Kubeconfig says how the holder of a token reaches the API server.
	Kubeconfig Kubeconfig
}
