package facts

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/lru"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

const (
	// maxSpecs bounds how many specs are remembered, and maxDigests how many digests.
	maxSpecs   = 8192
	maxDigests = 4096
	// specsAtOnce bounds how many are read at the same time.
	specsAtOnce = 16
)

// Digests computes digests of paths. A digest is of the objects as the API server has them, since people compute it from what they read:
// a duration that was written as 60m is not 1h. What a generation of an object says never changes, so each is read once.
type Digests struct {
	live    client.Reader
	specs   *lru.Cache // of generation: SpecOf
	digests *lru.Cache // of all generations: string
}

// NewDigests reads from the API server.
func NewDigests(live client.Reader) *Digests {
	return &Digests{live: live, specs: lru.New(maxSpecs), digests: lru.New(maxDigests)}
}

// errMoved says that an object has changed since the cache had it.
var errMoved = errors.New("it has changed just now")

// Of is the digest of a path with some hops.
func (d *Digests) Of(ctx context.Context, path *v1alpha1.DelegationPath, hops []*v1alpha1.DelegationHop) (string, error) {
	sum := sha256.New()
	_, _ = fmt.Fprintln(sum, generationOf(path)) // a hash always takes what it is given
	keys := make([]string, len(hops))
	for i, hop := range hops {
		keys[i] = generationOf(hop)
	}
	slices.Sort(keys)
	_, _ = fmt.Fprint(sum, strings.Join(keys, "\n"))
	all := string(sum.Sum(nil))
	if known, ok := d.digests.Get(all); ok {
		digest, _ := known.(string)
		return digest, nil
	}
	ofPath, err := d.spec(ctx, path, "DelegationPath")
	if err != nil {
		return "", err
	}
	ofHops := make([]delegation.SpecOf, len(hops))
	var group errgroup.Group
	group.SetLimit(specsAtOnce)
	for i, hop := range hops {
		group.Go(func() (err error) {
			ofHops[i], err = d.spec(ctx, hop, "DelegationHop")
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return "", err
	}
	digest, err := delegation.Digest(ofPath, ofHops)
	if err == nil {
		d.digests.Add(all, digest)
	}
	return digest, err
}

func generationOf(o client.Object) string { return fmt.Sprintf("%s/%d", o.GetUID(), o.GetGeneration()) }

// spec is what a generation of an object says.
func (d *Digests) spec(ctx context.Context, o client.Object, kind string) (delegation.SpecOf, error) {
	if known, ok := d.specs.Get(generationOf(o)); ok {
		spec, _ := known.(delegation.SpecOf)
		return spec, nil
	}
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(v1alpha1.SchemeGroupVersion.WithKind(kind))
	if err := d.live.Get(ctx, client.ObjectKeyFromObject(o), live); err != nil {
		return delegation.SpecOf{}, fmt.Errorf("reading %s %s/%s: %w", kind, o.GetNamespace(), o.GetName(), err)
	}
	if generationOf(live) != generationOf(o) {
		return delegation.SpecOf{}, fmt.Errorf("reading %s %s/%s: %w", kind, o.GetNamespace(), o.GetName(), errMoved)
	}
	raw, _, err := unstructured.NestedMap(live.Object, "spec")
	if err != nil {
		return delegation.SpecOf{}, fmt.Errorf("reading the spec of %s %s/%s: %w", kind, o.GetNamespace(), o.GetName(), err)
	}
	spec := delegation.SpecOf{Namespace: o.GetNamespace(), Name: o.GetName(), Spec: delegation.Decisive(raw)}
	d.specs.Add(generationOf(o), spec)
	return spec, nil
}
