package facts

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/rbac"
	"github.com/wayleave/wayleave/internal/scope"
)

// NewAccounts has a manager keep which ServiceAccounts exist. Of each it keeps the name and the UID: a cluster may have many.
func NewAccounts(mgr ctrl.Manager) (cache.Cache, error) {
	accounts, err := cache.New(mgr.GetConfig(), cache.Options{
		HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(), DefaultTransform: onlyIdentity,
	})
	if err != nil {
		return nil, fmt.Errorf("setting up the cache of ServiceAccounts: %w", err)
	}
	if _, err := accounts.GetInformer(context.Background(), AccountMetadata(), cache.BlockUntilSynced(false)); err != nil {
		return nil, fmt.Errorf("setting up the cache of ServiceAccounts: %w", err)
	}
	if err := mgr.Add(accounts); err != nil {
		return nil, fmt.Errorf("setting up the cache of ServiceAccounts: %w", err)
	}
	return accounts, nil
}

func onlyIdentity(o any) (any, error) {
	if account, ok := o.(*metav1.PartialObjectMetadata); ok {
		return &metav1.PartialObjectMetadata{TypeMeta: account.TypeMeta, ObjectMeta: metav1.ObjectMeta{
			Namespace: account.Namespace, Name: account.Name, UID: account.UID, ResourceVersion: account.ResourceVersion,
			DeletionTimestamp: account.DeletionTimestamp,
		}}, nil
	}
	return o, nil
}

// AccountMetadata is the metadata of a ServiceAccount, to be read or watched.
func AccountMetadata() *metav1.PartialObjectMetadata {
	account := &metav1.PartialObjectMetadata{}
	account.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ServiceAccount"))
	return account
}

// account looks up the ServiceAccount that an origin or author is.
func (g *Gatherer) account(ctx context.Context, s *v1alpha1.Subject) delegation.Account {
	if !delegation.AsksForAccount(s) {
		return delegation.Account{}
	}
	uid, err := g.AccountUID(ctx, s.User)
	if err != nil {
		return delegation.Account{Unknown: delegation.APIMessage(err, "there was no answer")}
	}
	return delegation.Account{Found: true, UID: uid}
}

// AccountUID is the UID of a ServiceAccount, by its user name; empty if it does not exist or is being deleted.
func (g *Gatherer) AccountUID(ctx context.Context, user string) (string, error) {
	key, ok := rbac.ServiceAccountOf(user)
	if !ok {
		return "", nil // there is no such account, and never will be
	}
	from := []client.Reader{g.Accounts, g.Live} // the cache may only not hold it yet
	if g.Accounts == nil || g.fresh {
		from = from[1:]
	}
	for _, reader := range from {
		account := AccountMetadata()
		switch err := reader.Get(ctx, key, account); {
		case err == nil && account.DeletionTimestamp.IsZero():
			return string(account.UID), nil
		case client.IgnoreNotFound(err) != nil:
			return "", fmt.Errorf("reading ServiceAccount %s: %w", key, err)
		}
	}
	return "", nil
}

// everything is the right to do anything.
var everything = scope.Of(scope.Permission{APIGroup: "*", Resource: "*", Verb: "*"})

// unbounded answers whether RBAC lets an origin do everything. Other authorizers are not asked: they do not say what they would allow.
func (g *Gatherer) unbounded(ctx context.Context, origin *v1alpha1.Subject) delegation.Answer {
	if origin == nil {
		return delegation.Answer{Outcome: delegation.Deny}
	}
	held, complete, err := rbac.Reader{Cache: g.Cache}.Of(ctx, *origin, nil)
	switch missing := everything.MissingFrom(held); {
	case err != nil:
		return delegation.Answer{Detail: err.Error()}
	case len(missing) == 0:
		return delegation.Answer{Outcome: delegation.Allow}
	case !complete:
		return delegation.Answer{Detail: "more roles are bound to it than are read for one answer"}
	}
	return delegation.Answer{Outcome: delegation.Deny}
}
