package webhooks

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// delegationMutator stamps paths and hops with the users who act: origin, author, and who revoked. It edits the object as
// it came and touches nothing else, so that what a GitOps tool applies and what it reads back stay the same.
type delegationMutator struct {
	recorder
	facts impersonation
}

func newDelegationMutator(o Options) *delegationMutator {
	return &delegationMutator{recorder: o.recorder(), facts: o.Gather}
}

// stampedKind says how a kind is stamped.
type stampedKind struct {
	// subject is the field of the spec that names the user whose authority the object uses.
	subject string
	// passing are the fields of the spec whose change does not make its author the subject.
	passing []string
}

var stampedKinds = map[string]stampedKind{
	"DelegationPath": {subject: "origin", passing: []string{"origin", "reason", "suspend", "revoked"}},
	"DelegationHop":  {subject: "author", passing: []string{"author", "revoked"}},
}

// Handle stamps one object.
func (m *delegationMutator) Handle(ctx context.Context, req admission.Request) admission.Response {
	kind, ok := stampedKinds[req.Kind.Kind]
	if !ok {
		unknown := fmt.Errorf("a %s is neither a DelegationPath nor a DelegationHop", req.Kind.Kind)
		return m.unanswered(req, delegation.Input{}, malformed(unknown))
	}
	object, old, err := objects(req)
	if err != nil {
		return m.unanswered(req, knownOf(req), malformed(err))
	}
	err = m.stamp(ctx, kind, req, object, old)
	if tooLong := (unstampableError{}); errors.As(err, &tooLong) {
		cause := metav1.StatusCause{Type: metav1.CauseTypeForbidden, Field: "spec." + kind.subject, Message: tooLong.Error()}
		return m.record(req, knownOf(req), v1alpha1.ReasonOriginUnauthorized, forbidden(req, tooLong.Error(), cause))
	} else if err != nil {
		return m.unanswered(req, knownOf(req), failed(err))
	}
	stamped, err := object.MarshalJSON()
	if err != nil {
		return m.unanswered(req, knownOf(req), failed(fmt.Errorf("encoding the stamped object: %w", err)))
	}
	return admission.PatchResponseFromRaw(req.Object.Raw, stamped).WithWarnings(m.takeover(kind, req, object, old)...)
}

// takeover warns a requester who becomes the subject of an object in place of another user: hops that rely on the old
// subject lose their rights.
func (m *delegationMutator) takeover(kind stampedKind, req admission.Request, object, old *unstructured.Unstructured) []string {
	if old == nil {
		return nil
	}
	before, _, _ := unstructured.NestedString(old.Object, "spec", kind.subject, "user")
	after, _, _ := unstructured.NestedString(object.Object, "spec", kind.subject, "user")
	if before == "" || before == after {
		return nil
	}
	warning := fmt.Sprintf("the %s of %s %q is now %q, in place of %q", kind.subject, req.Kind.Kind, object.GetName(), after, before)
	if kind.subject == "origin" {
		warning += ": hops of other authors are withdrawn unless these hold the verb delegate on it; to end a path, set revoked"
	}
	return []string{warning}
}

func (m *delegationMutator) stamp(
	ctx context.Context, kind stampedKind, req admission.Request, object, old *unstructured.Unstructured,
) error {
	spec, _, err := unstructured.NestedMap(object.Object, "spec")
	if err != nil || spec == nil {
		return nil //nolint:nilerr // the schema denies a spec that is no object, in its own words
	}
	oldSpec := map[string]any{}
	if old != nil {
		if oldSpec, _, err = unstructured.NestedMap(old.Object, "spec"); err != nil {
			return fmt.Errorf("reading the old spec: %w", err)
		}
	}
	who := requester(req.UserInfo)
	if delegation.AsksForAccount(&who) {
		who.UID = req.UserInfo.UID
	}
	keepStamps(spec[kind.subject], oldSpec[kind.subject])
	if err := m.stampSubject(ctx, kind, who, spec, oldSpec, old == nil); err != nil {
		return err
	}
	subject, oldSubject := spec[kind.subject], oldSpec[kind.subject]
	changed := !equality.Semantic.DeepEqual(subject, oldSubject) || matters(kind, spec, oldSpec)
	m.stampUID(ctx, who, subject, oldSubject)
	by := nameToNote(req)
	stampDeclarer(who.User, by, subject, changed)
	m.stampRevocation(by, spec, oldSpec)
	stampChange(by, object, old, !equality.Semantic.DeepEqual(spec, oldSpec))
	object.Object["spec"] = spec
	return nil
}

// stampSubject names the object's origin or author. A declared one stays, for the delegation validator to check. One that
// is left out, or left as it was while something that matters is changed, becomes the requester, unless the requester may
// act as the old subject anyway: then the change may pass as the old subject's.
func (m *delegationMutator) stampSubject(
	ctx context.Context, kind stampedKind, who v1alpha1.Subject, spec, oldSpec map[string]any, created bool,
) error {
	declared, oldSubject := spec[kind.subject], oldSpec[kind.subject]
	switch mattered := created || matters(kind, spec, oldSpec); {
	case declared != nil && (created || !equality.Semantic.DeepEqual(declared, oldSubject)):
		return nil
	case oldSubject == nil && !mattered && !equality.Semantic.DeepEqual(spec, oldSpec):
		return nil // suspending or revoking an object makes no one its subject
	case oldSubject != nil && !mattered:
		spec[kind.subject] = oldSubject
		return nil
	case declared != nil:
		if keep, err := m.mayActAs(ctx, who, declared); keep || err != nil {
			return err
		}
	}
	if err := stampable(who, fmt.Sprintf("declare spec.%s with what counts", kind.subject)); err != nil {
		return err
	}
	stamp, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&who)
	if err != nil {
		return fmt.Errorf("stamping spec.%s: %w", kind.subject, err)
	}
	spec[kind.subject] = stamp
	return nil
}

func (m *delegationMutator) mayActAs(ctx context.Context, who v1alpha1.Subject, declared any) (bool, error) {
	subject, err := subjectFrom(declared)
	if err != nil {
		return false, err
	}
	return m.actsAs(ctx, who, subject), nil
}

// matters says whether a change touches more than the fields that may pass without a new subject.
func matters(kind stampedKind, spec, oldSpec map[string]any) bool {
	return !equality.Semantic.DeepEqual(without(spec, kind.passing), without(oldSpec, kind.passing))
}

func without(spec map[string]any, fields []string) map[string]any {
	rest := maps.Clone(spec)
	for _, field := range fields {
		delete(rest, field)
	}
	return rest
}

// stampRevocation notes who revoked, and when. What a request claims is overwritten; an old revocation stays.
func (m *delegationMutator) stampRevocation(by string, spec, oldSpec map[string]any) {
	revoked, ok := spec["revoked"].(map[string]any)
	if !ok {
		return
	}
	if revokedBefore, ok := oldSpec["revoked"].(map[string]any); ok {
		for _, field := range []string{"by", "at"} {
			if revoked[field] == nil && revokedBefore[field] != nil {
				revoked[field] = revokedBefore[field]
			}
		}
		return
	}
	revoked["by"], revoked["at"] = by, m.clock.Now().UTC().Format(time.RFC3339)
	if by == "" {
		delete(revoked, "by")
	}
}

// stampChange notes who changed the spec last, and which generation that made, if the note fits. No request can write these
// annotations itself.
func stampChange(by string, object, old *unstructured.Unstructured, changed bool) {
	stamps := map[string]string{v1alpha1.AnnotationChangedBy: by, v1alpha1.AnnotationChangedGeneration: "1"}
	if old != nil { // as the API server will count it: any change of the spec makes one
		stamps[v1alpha1.AnnotationChangedGeneration] = strconv.FormatInt(old.GetGeneration()+1, 10)
	}
	annotations := maps.Clone(object.GetAnnotations())
	if annotations == nil {
		annotations = map[string]string{}
	}
	for key, value := range stamps {
		if !changed && old != nil {
			value = old.GetAnnotations()[key]
		}
		annotations[key] = value
		if value == "" {
			delete(annotations, key)
		}
	}
	if annotations[v1alpha1.AnnotationChangedBy] == "" || validation.ValidateAnnotationsSize(annotations) != nil {
		delete(annotations, v1alpha1.AnnotationChangedBy)
		delete(annotations, v1alpha1.AnnotationChangedGeneration)
	}
	if !maps.Equal(annotations, object.GetAnnotations()) {
		object.SetAnnotations(annotations)
	}
}

func subjectFrom(raw any) (v1alpha1.Subject, error) {
	var s v1alpha1.Subject
	m, ok := raw.(map[string]any)
	if !ok {
		return s, fmt.Errorf("a subject is a %T", raw)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(m, &s); err != nil {
		return s, fmt.Errorf("reading a subject: %w", err)
	}
	return s, nil
}

// objects are the object of a request and the one that it replaces, nil where there is none.
func objects(req admission.Request) (object, old *unstructured.Unstructured, err error) {
	object = &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(req.Object.Raw); err != nil {
		return nil, nil, fmt.Errorf("decoding the object: %w", err)
	}
	if !isUpdate(req) {
		return object, nil, nil
	}
	old = &unstructured.Unstructured{}
	if err := old.UnmarshalJSON(req.OldObject.Raw); err != nil {
		return nil, nil, fmt.Errorf("decoding the old object: %w", err)
	}
	return object, old, nil
}
